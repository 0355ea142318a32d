//! Evidence of kind `nitro`: the attestation document of an AWS Nitro Enclave, from its Nitro Secure Module. Never run
//! on hardware by us.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::nitro::NitroItem;

use super::nsm::{self, NsmDevice};
use super::{CollectFault, Collector, Extras, Part, Prepared, Signed, blocking};

/// Gathers it.
#[derive(Clone)]
pub(super) struct NitroCollector(pub(super) Arc<dyn NsmDevice>);

impl Collector for NitroCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Nitro
    }

    fn prepare<'a>(&'a self, _: &'a [u8], _: Extras) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Prepared>) })
    }
}

impl Prepared for NitroCollector {
    fn part(&self) -> Part {
        Part::default()
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(blocking(move || {
            let answer = self.0.request(&nsm::attestation_request(&signed.binding, &signed.nonce))?;
            Ok(NitroItem { document: &nsm::document(&answer)? }.encode())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::nsm::NsmFault;
    use super::*;

    /// Puts the request into the document.
    struct Module;

    impl NsmDevice for Module {
        fn request(&self, request: &[u8]) -> Result<Vec<u8>, NsmFault> {
            Ok(nsm::tests::answer(request))
        }
    }

    #[tokio::test]
    async fn a_document_is_asked_for_with_binding_and_nonce() {
        let collector = NitroCollector(Arc::new(Module));
        let prepared = collector.prepare(&[], Extras::default()).await.unwrap();
        let item = prepared.finish(Signed { binding: [5; 32], nonce: [6; 32] }).await.unwrap();
        let request = nsm::attestation_request(&[5; 32], &[6; 32]);
        assert_eq!(NitroItem::parse(&item).unwrap().document, request);
    }
}
