//! `module_id`: the instance and what on it attests, as the hypervisor names them.

use std::fmt;

use super::kind::DocumentKind;

/// Hexadecimal digits of an instance id or a module's number. Instances have 17 (8 before 2016), enclaves and TPMs 16.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=32;

/// `i-0123456789abcdef0-enc0123456789abcdef`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId {
    text: String,
    instance_bytes: usize,
}

impl ModuleId {
    /// The name of a module of that kind; `None` for anything else. Lower case only: a name has one spelling.
    #[must_use]
    pub fn parse(kind: DocumentKind, text: &str) -> Option<Self> {
        let (instance, module) = text.strip_prefix("i-")?.split_once('-')?;
        let number = module.strip_prefix(kind.module_prefix())?;
        let is_number = |digits: &str| {
            DIGITS.contains(&digits.len()) && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        };
        let named = is_number(instance) && is_number(number);
        named.then(|| Self { text: text.to_owned(), instance_bytes: "i-".len() + instance.len() })
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The EC2 instance: `i-0123456789abcdef0`.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        self.text.get(..self.instance_bytes).unwrap_or_default()
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_instance_kind_and_number() {
        let enclave = ModuleId::parse(DocumentKind::Enclave, "i-04fd167167daacf3b-enc01845e97d0b3eb4e").unwrap();
        assert_eq!(enclave.instance_id(), "i-04fd167167daacf3b");
        let tpm = ModuleId::parse(DocumentKind::Tpm, "i-01cfb383223e42522-tpm0000000000000000").unwrap();
        assert_eq!(tpm.instance_id(), "i-01cfb383223e42522");
        assert_eq!(ModuleId::parse(DocumentKind::Tpm, enclave.as_str()), None);
        assert_eq!(ModuleId::parse(DocumentKind::Enclave, tpm.as_str()), None);
    }

    #[test]
    fn another_spelling_is_no_name() {
        for text in [
            "",
            "i-",
            "i-04fd167167daacf3b",
            "i-04fd167167daacf3b-enc",
            "i-04FD167167daacf3b-enc01845e97d0b3eb4e",
            "i-04fd167167daacf3b-enc01845e97d0b3eb4e-x",
            "i-04fd167167daacf3b-enc01845e97d0b3eb4e ",
            "i-04fd167167daacf3b-enc01845e97d0b3eb4e/../x",
            "04fd167167daacf3b-enc01845e97d0b3eb4e",
            "i--enc01845e97d0b3eb4e",
        ] {
            assert_eq!(ModuleId::parse(DocumentKind::Enclave, text), None, "{text:?}");
        }
    }
}
