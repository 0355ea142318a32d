//! The file name out of an `EFI_IMAGE_LOAD_EVENT`: a hint for people, proven by nothing.

use super::Guid;
use super::variable::utf16le;

/// Nodes of a device path that are looked at. The longest seen has 7.
const NODES_MAX: usize = 64;

/// The path of the image that a `BOOT_SERVICES_*` event claims to be about; `None` where there is none.
pub(crate) fn image_path(data: &[u8]) -> Option<String> {
    let (header, path) = data.split_first_chunk::<32>()?;
    let length = header.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))?;
    let mut rest = path.get(..usize::try_from(length).ok()?)?;
    let mut text = String::new();
    for _ in 0..NODES_MAX {
        let Some(([kind, subtype, low, high], _)) = rest.split_first_chunk::<4>() else { break };
        let size = usize::from(u16::from_le_bytes([*low, *high]));
        let Some((node, tail)) = rest.split_at_checked(size) else { break };
        let Some(body) = node.get(4..) else { break };
        match (*kind, *subtype) {
            // media: file path; firmware file; firmware volume
            (4, 4) => text.push_str(&utf16le(body)?),
            (4, 6 | 7) => {
                if let Some(guid) = body.first_chunk::<16>() {
                    if !text.is_empty() {
                        text.push('/');
                    }
                    text.push_str(&Guid(*guid).to_string());
                }
            }
            (0x7f, _) => break,
            _ => {}
        }
        rest = tail;
    }
    (!text.is_empty()).then_some(text)
}
