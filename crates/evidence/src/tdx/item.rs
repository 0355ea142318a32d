//! `TdxItem`: the evidence that an agent sends, and its wire form. Parsed, it is still all claims.

use super::quote::QUOTE_AREA_BYTES_MAX;
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};
use crate::tpm::event_log::EVENT_LOG_BYTES_MAX;

const VERSION: u8 = 1;

/// The evidence item of kind `tdx`, borrowed. Agents build one and [`encode`](Self::encode) it; servers
/// [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdxItem<'a> {
    /// The quote as the machine gives it, padding included.
    pub quote: &'a [u8],
    /// The CC event log, as read *before* the quote: the area that the ACPI table CCEL names.
    pub ccel: Option<&'a [u8]>,
}

impl<'a> TdxItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new().u8(VERSION).sized32(self.quote);
        match self.ccel {
            None => writer.u8(0),
            Some(log) => writer.u8(1).sized32(log),
        }
        .finish()
    }

    /// Reads an item, exactly. The quote inside is not read yet.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse, and for trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::TdxItem, bytes);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
        let quote = reader.sized32(QUOTE_AREA_BYTES_MAX, "quote")?;
        let ccel = match reader.u8("ccel")? {
            0 => None,
            1 => Some(reader.sized32(EVENT_LOG_BYTES_MAX, "ccel")?),
            other => return Err(reader.value("ccel", other.into())),
        };
        reader.finish()?;
        Ok(Self { quote, ccel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_back_as_written_and_not_a_byte_less_or_more() {
        for ccel in [None, Some(&b"log"[..]), Some(&[])] {
            let item = TdxItem { quote: b"quote", ccel };
            let bytes = item.encode();
            assert_eq!(TdxItem::parse(&bytes), Ok(item));
            for end in 0..bytes.len() {
                assert!(TdxItem::parse(&bytes[..end]).is_err());
            }
            assert!(TdxItem::parse(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn a_quote_above_the_limit_is_refused() {
        let quote = vec![0; QUOTE_AREA_BYTES_MAX + 1];
        let refused = TdxItem::parse(&TdxItem { quote: &quote, ccel: None }.encode()).unwrap_err();
        assert_eq!((refused.field, refused.code()), ("quote", "tdx.item.malformed"));
    }
}
