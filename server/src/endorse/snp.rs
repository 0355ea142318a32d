//! Endorsements of SEV-SNP: the key that signed a report, verified up to AMD's root, from wherever it can be had.

use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{
    CERTIFICATE_BYTES_MAX, Product, SnpEndorsements, SnpWants, TABLE_BYTES_MAX, Unverified, Vek, VekKind, VerifiedVek,
    bundle, kds, verify_chain,
};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::amd::{VekKey, issuer_about, vek_draft};
use super::endorser::{Endorser, Inner};
use super::fault::EndorseFault;
use super::pace::{Asker, Turn};
use super::service::Service;
use super::unknown::UNKNOWN;
use crate::clock;
use crate::store::{EndorsementDraft, EndorsementRole, EndorsementSource, Which};

/// Certificates of VEKs that are tried for one key from one place.
const TRIED_MAX: usize = 4;
/// Bytes of a service's refusal that are read: none of them are looked at.
const REFUSAL_BYTES: usize = 16 << 10;

impl Endorser {
    /// What a report's verification needs: roots, and the key that signed, if anybody has it.
    /// `offered` are the certificates that came with the report. Nothing is fetched that came along or is held, nor
    /// where no root is trusted for evidence of `serves` (SNP, or Azure's).
    ///
    /// A key that AMD does not know is no fault: the report does not verify without it.
    ///
    /// # Errors
    /// [`EndorseFault`]: the machine is neither refused nor admitted, and comes back.
    pub async fn snp(
        &self,
        serves: EvidenceKind,
        wants: &SnpWants,
        offered: &[Vec<u8>],
        asker: Asker,
    ) -> Result<SnpEndorsements, EndorseFault> {
        let roots = self.0.trust.roots(serves);
        let verified = if roots.is_empty() { Vec::new() } else { self.veks(&roots, wants, offered, asker).await? };
        Ok(SnpEndorsements { roots, verified, certificates: Vec::new() })
    }

    /// Keeps a key that a machine brought along, once its report has verified.
    pub async fn learn_vek(&self, vek: &VerifiedVek, offered: &[Vec<u8>]) {
        if !self.0.learned.is_new(*vek.sha256()) {
            return;
        }
        let about = VekKey::of(vek.vek()).about();
        let held = self.0.store.endorsements(Which::About(about)).await;
        let is_held = held.is_ok_and(|held| held.iter().any(|held| held.sha256.0 == *vek.sha256()));
        let brought = offered.iter().find(|der| crate::store::Sha256::of(der).0 == *vek.sha256());
        if let (false, Some(der)) = (is_held, brought) {
            self.0.keep(vec![vek_draft(der, vek.vek(), EndorsementSource::Evidence, clock::now())]).await;
        }
    }

    async fn veks(
        &self,
        roots: &Arc<Roots>,
        wants: &SnpWants,
        offered: &[Vec<u8>],
        asker: Asker,
    ) -> Result<Vec<Arc<VerifiedVek>>, EndorseFault> {
        let keys: Vec<VekKey> =
            wants.products().into_iter().filter_map(|product| VekKey::wanted(wants, product)).collect();
        for key in &keys {
            let kept = self.0.kept.get(&key.about(), roots, clock::now());
            if !kept.is_empty() {
                return Ok(found("memory", kept));
            }
        }
        let mut issuer_missing = None;
        for key in &keys {
            for (place, candidates) in self.0.candidates(key, offered).await? {
                let candidates = candidates.into_iter().take(TRIED_MAX);
                let mut proven = Vec::new();
                for der in candidates {
                    match self.0.prove(key, &der, roots, offered).await? {
                        Ok(vek) => proven.push((vek, der)),
                        Err(Unverified::IssuerMissing { .. }) => {
                            issuer_missing.get_or_insert((key, der));
                        }
                        // The verifier says by its own check what is wrong with it.
                        Err(_) => {}
                    }
                }
                if !proven.is_empty() {
                    return Ok(found(place, self.0.take_in(key, place, proven).await));
                }
            }
        }
        if let Some((key, der)) = issuer_missing {
            let proven = self.with_fetched_issuer(key, &der, roots, asker).await?;
            // If it is forged, the right one may be had all the same.
            if !proven.is_empty() {
                return Ok(found("service", proven));
            }
        }
        for key in &keys {
            if let Some(vek) = self.fetch_vek(key, roots, asker).await? {
                return Ok(found("service", vec![vek]));
            }
        }
        Ok(found("nowhere", Vec::new()))
    }

    /// The key from AMD's service; `None` where AMD does not know it, or gives it to providers alone.
    async fn fetch_vek(
        &self,
        key: &VekKey,
        roots: &Arc<Roots>,
        asker: Asker,
    ) -> Result<Option<Arc<VerifiedVek>>, EndorseFault> {
        let (inner, about) = (&self.0, key.about());
        let Some(path) = key.path() else { return Ok(None) };
        if inner.unknown.is_unknown(&about) {
            return Ok(None);
        }
        let url = inner.amd.as_ref().map_or_else(|| path.clone(), |amd| amd.url(&path));
        let result = self.fly(&about, asker, |inner, turn| {
            let (key, roots) = (key.clone(), Arc::clone(roots));
            async move { inner.fetch_vek(&key, &path, &roots, turn).await }
        });
        let result = result.await;
        match &result {
            Ok(Some(_)) => inner.unknown.found(&about),
            Ok(None) => inner.want(EvidenceKind::Snp, &about, url, UNKNOWN, asker),
            Err(fault) => inner.want(EvidenceKind::Snp, &about, url, fault.code(), asker),
        }
        result
    }

    /// A key that is here without the intermediate above it, which AMD's service has.
    async fn with_fetched_issuer(
        &self,
        key: &VekKey,
        der: &[u8],
        roots: &Arc<Roots>,
        asker: Asker,
    ) -> Result<Vec<Arc<VerifiedVek>>, EndorseFault> {
        let about = issuer_about(key.kind, key.product);
        // By the certificate too: a forged one must not answer for those that come with genuine ones.
        let flight = format!("{about}/{}", crate::store::Sha256::of(der));
        let result = self.fly(&flight, asker, |inner, turn| {
            let (key, der, roots) = (key.clone(), der.to_vec(), Arc::clone(roots));
            async move {
                let Some(amd) = &inner.amd else { return Ok(None) };
                // A certificate that no issuer proves is a stranger's invention, and no fault.
                let (vek, _) = inner.prove_with_service(amd, &key, &der, &roots, turn).await?.ok().unzip();
                Ok(vek)
            }
        });
        let found_one = result.await.inspect_err(|fault| {
            let path = kds::chain_path(key.kind, key.product);
            let url = self.0.amd.as_ref().map_or_else(|| path.clone(), |amd| amd.url(&path));
            self.0.want(EvidenceKind::Snp, &about, url, fault.code(), asker);
        })?;
        Ok(found_one.into_iter().collect())
    }

    /// Joins a fetch, or begins it with a turn.
    async fn fly<F>(
        &self,
        about: &str,
        asker: Asker,
        fetch: impl FnOnce(Arc<Inner>, Turn) -> F,
    ) -> Result<Option<Arc<VerifiedVek>>, EndorseFault>
    where
        F: Future<Output = Result<Option<Arc<VerifiedVek>>, EndorseFault>> + Send + 'static,
    {
        let inner = &self.0;
        let Some(amd) = &inner.amd else { return Err(EndorseFault::Missing { about: about.to_owned() }) };
        let turn = if inner.veks.has(about) { Turn::OURS } else { amd.admit(asker)? };
        let ((patience, _place), inner_too) = (inner.patience(asker), Arc::clone(inner));
        match inner.veks.join(about, patience, || fetch(inner_too, turn)).await {
            Ok(result) => result,
            Err(not_yet) => Err(not_yet.fault(about)),
        }
    }
}

/// Counts where it was found.
fn found(place: &'static str, veks: Vec<Arc<VerifiedVek>>) -> Vec<Arc<VerifiedVek>> {
    metrics::counter!("holdfast_endorsements_found_total", "serves" => "snp", "place" => place).increment(1);
    veks
}

impl Inner {
    /// Certificates for that key from everywhere but the service.
    async fn candidates(
        &self,
        key: &VekKey,
        offered: &[Vec<u8>],
    ) -> Result<[(&'static str, Vec<Vec<u8>>); 3], EndorseFault> {
        let is_it = |der: &&Vec<u8>| Vek::parse(der).is_ok_and(|vek| VekKey::of(&vek) == *key);
        let brought = offered.iter().filter(is_it).cloned().collect();
        let held = self.store.endorsements(Which::About(key.about())).await?;
        let now = clock::now();
        let held = held.into_iter().filter(|held| held.draft.not_after > now).map(|held| held.draft.content);
        let files = self.directory.files().await;
        Ok([("evidence", brought), ("store", held.collect()), ("directory", files.veks(&key.about()).to_vec())])
    }

    /// Verifies a VEK's chain with the intermediates that are here.
    async fn prove(
        &self,
        key: &VekKey,
        der: &[u8],
        roots: &Arc<Roots>,
        offered: &[Vec<u8>],
    ) -> Result<Result<Arc<VerifiedVek>, Unverified>, EndorseFault> {
        let mut issuers: Vec<Vec<u8>> = named(offered, key.kind, key.product);
        let held = self.store.endorsements(Which::About(issuer_about(key.kind, key.product))).await?;
        issuers.extend(held.into_iter().map(|held| held.draft.content));
        issuers.extend(named(&self.directory.files().await.issuers, key.kind, key.product));
        Ok(verify_chain(der, &issuers, roots, clock::now()).map(Arc::new))
    }

    /// Remembers what was proven; what came from the directory is held from now on.
    async fn take_in(
        &self,
        key: &VekKey,
        place: &'static str,
        proven: Vec<(Arc<VerifiedVek>, Vec<u8>)>,
    ) -> Vec<Arc<VerifiedVek>> {
        self.unknown.found(&key.about());
        if place == "directory" {
            let draft = |(vek, der): &(Arc<VerifiedVek>, Vec<u8>)| {
                vek_draft(der, vek.vek(), EndorsementSource::Directory, clock::now())
            };
            self.keep(proven.iter().map(draft).collect()).await;
        }
        let veks: Vec<_> = proven.into_iter().map(|(vek, _)| vek).collect();
        for vek in &veks {
            self.kept.put(key.about(), Arc::clone(vek));
        }
        veks
    }

    /// Fetches a VEK, and the intermediate above it where that is not here; checks both, and keeps them.
    pub(super) async fn fetch_vek(
        &self,
        key: &VekKey,
        path: &str,
        roots: &Arc<Roots>,
        turn: Turn,
    ) -> Result<Option<Arc<VerifiedVek>>, EndorseFault> {
        let Some(amd) = &self.amd else { return Ok(None) };
        let about = key.about();
        let limit = CERTIFICATE_BYTES_MAX.max(REFUSAL_BYTES);
        let Some(answer) = amd.get(&about, path, limit, turn).await? else { return Ok(None) };
        let der = answer.body;
        let vek = Vek::parse(&der).map_err(|error| amd.bad_answer(&about, error.to_string()))?;
        if VekKey::of(&vek) != *key {
            return Err(amd.bad_answer(&about, format!("certificate for {}", VekKey::of(&vek).about())));
        }
        let proven = match self.prove(key, &der, roots, &[]).await? {
            Ok(vek) => Ok((vek, None)),
            Err(Unverified::IssuerMissing { .. }) => {
                let with = self.prove_with_service(amd, key, &der, roots, Turn::Free).await?;
                with.map(|(vek, issuer)| (vek, Some(issuer)))
            }
            Err(refused) => Err(refused),
        };
        let (vek, _) = proven.map_err(|refused| amd.bad_answer(&about, refused.to_string()))?;
        self.keep(vec![vek_draft(&der, vek.vek(), EndorsementSource::Service, clock::now())]).await;
        self.kept.put(about, Arc::clone(&vek));
        Ok(Some(vek))
    }

    /// Verifies a VEK with the intermediate that the service has; keeps the intermediate if it was that one.
    async fn prove_with_service(
        &self,
        amd: &Service,
        key: &VekKey,
        der: &[u8],
        roots: &Arc<Roots>,
        turn: Turn,
    ) -> Result<Result<(Arc<VerifiedVek>, Vec<u8>), Unverified>, EndorseFault> {
        let about = issuer_about(key.kind, key.product);
        let path = kds::chain_path(key.kind, key.product);
        let answer = amd.get(&about, &path, TABLE_BYTES_MAX, turn).await?;
        let answer = answer.ok_or_else(|| amd.bad_answer(&about, "it knows no such chain"))?;
        let chain = bundle(&answer.body).map_err(|error| amd.bad_answer(&about, error.to_string()))?;
        let mut refusal = Unverified::IssuerMissing { name: format!("intermediate of {about}") };
        for issuer in named(&chain, key.kind, key.product) {
            match verify_chain(der, &[&issuer], roots, clock::now()) {
                Ok(vek) => {
                    let vek = Arc::new(vek);
                    self.keep(vec![issuer_draft(&issuer, about.clone(), &vek)]).await;
                    self.kept.put(key.about(), Arc::clone(&vek));
                    return Ok(Ok((vek, issuer)));
                }
                Err(error) => refusal = error,
            }
        }
        Ok(Err(refusal))
    }
}

/// The certificates whose subject is the issuer of such keys, by their own words.
fn named(certificates: &[Vec<u8>], kind: VekKind, product: Product) -> Vec<Vec<u8>> {
    let wanted = match kind {
        VekKind::Vcek => format!("SEV-{product}"),
        VekKind::Vlek => format!("SEV-VLEK-{product}"),
    };
    let is_it = |der: &&Vec<u8>| {
        X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
            certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(wanted.as_str()))
        })
    };
    certificates.iter().filter(is_it).take(TRIED_MAX).cloned().collect()
}

fn issuer_draft(der: &[u8], about: String, vek: &VerifiedVek) -> EndorsementDraft {
    let parsed = X509Certificate::from_der(der).ok();
    let (subject, not_after) = parsed.map_or_else(Default::default, |(_, certificate)| {
        (certificate.subject().to_string(), certificate.validity().not_after.timestamp())
    });
    EndorsementDraft {
        role: EndorsementRole::Intermediate,
        serves: EvidenceKind::Snp.into(),
        content: der.to_vec(),
        class: vek.root().class.as_str().to_owned(),
        name: subject.clone(),
        subject,
        about,
        not_after: UnixTime(not_after),
        source: EndorsementSource::Service,
        fetched_at: clock::now(),
    }
}
