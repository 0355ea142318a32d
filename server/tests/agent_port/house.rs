//! A server in a directory of its own: initialised, with a store, a vendor's root, an inventory and a policy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_protocol::agent as wire;
use holdfast_server::authority::{InitOptions, Rotation, TokenSettings, init};
use holdfast_server::budget::Rate;
use holdfast_server::clock;
use holdfast_server::desk::DeskSettings;
use holdfast_server::endorse::EndorseSettings;
use holdfast_server::listen::ListenLimits;
use holdfast_server::revocation::ListSettings;
use holdfast_server::serve::{ServeOptions, Server};
use holdfast_server::space::Space;
use holdfast_server::store::sqlite::{SqliteStore, StoreLimits};
use holdfast_server::store::{
    Actor, Allowed, AttemptFilter, AttemptRecord, Document, EndorsementDraft, EndorsementRole, EndorsementSource,
    Entry, EntryDraft, Mode, Node, NodeAction, NodeTarget, Parent, PolicyDraft, Sha256, Store,
};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::vendor::Vendor;
use crate::virtual_tpm::{Boot, VirtualTpm};

pub(crate) const BY: Actor = Actor::Server;

/// The policy of most tests: the machine is ours, and Secure Boot is on.
pub(crate) const POLICY: &str = "
[rule.require]
tpm.secure_boot.enabled = { equals = true }
";

pub(crate) struct House {
    _directory: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) address: SocketAddr,
    pub(crate) root: Vec<u8>,
    pub(crate) vendor: Vendor,
    pub(crate) boot: Boot,
    pub(crate) space: Space,
    stop: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn settings() -> DeskSettings {
    DeskSettings {
        challenge_lifetime: 60,
        node_svid_ttl_max: 7200,
        per_source: Rate { per_second: 1_000.0, burst: 10_000.0 },
        verifications_max: 16,
        our_attempts: 64,
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_with(settings(), ListenLimits::default()).await
    }

    pub(crate) async fn open_with(desk: DeskSettings, listen_limits: ListenLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let trust_domain: holdfast_identity::TrustDomain = "example.org".parse().unwrap();
        let init_options =
            InitOptions::new(trust_domain.clone(), data_dir.clone(), directory.path().join("root.pem"), clock::now());
        init(&init_options).unwrap();
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(
                &data_dir.join("test.sqlite"),
                trust_domain.clone(),
                StoreLimits { entries_max: 100_000, ..StoreLimits::default() },
            )
            .await
            .unwrap(),
        );
        let vendor = Vendor::new("Vendor");
        import(store.as_ref(), vendor.root(), "discrete").await;
        let space = Space::default();
        let options = ServeOptions {
            trust_domain,
            challenge_key: data_dir.join("challenge.key"),
            data_dir,
            listen: "127.0.0.1:0".parse().unwrap(),
            allow_simulated: false,
            endorse: EndorseSettings::default(),
            x509_svid_ttl: 3600,
            tokens: TokenSettings::default(),
            rotation: Rotation::by_hand(),
            listen_limits,
            desk,
            lists: ListSettings::default(),
            space: space.clone(),
        };
        let server = Server::build(options, store.clone()).await.unwrap();
        let address = server.address();
        let root = server.authority().bundle().get().authorities()[0].clone();
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        let house =
            Self { _directory: directory, store, address, root, vendor, boot: Boot::of("shim-grub"), space, stop };
        house.apply(POLICY).await;
        house
    }

    /// A machine that is in the inventory.
    pub(crate) async fn machine(&self) -> VirtualTpm {
        let tpm = VirtualTpm::new(&self.vendor);
        self.allow(&tpm).await;
        tpm
    }

    pub(crate) async fn allow(&self, tpm: &VirtualTpm) {
        let allowed = |digest| Allowed { digest: Sha256(digest), label: "rack 1".to_owned() };
        self.store.allow(tpm.ek_digests().into_iter().map(allowed).collect(), BY, clock::now()).await.unwrap();
    }

    /// Applies a policy with these lines under its one rule.
    pub(crate) async fn apply(&self, rule: &str) {
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"lab\"\n\
             [issue]\nnode_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\nselectors = [\"tpm.secure_boot.enabled\"]\n\
             [[rule]]\nname = \"rack\"\nownership = \"inventory\"\n\
             trust_classes = [\"discrete\", \"vtpm\"]\n{rule}"
        );
        let documents = vec![Document { name: "lab.toml".to_owned(), text }];
        let draft = PolicyDraft { name: "lab".to_owned(), documents, mode: Mode::Enforce, message: String::new() };
        self.store.apply_policy(draft, BY, clock::now()).await.unwrap();
        // The notice is on its way to the desk; attempts in between are appraised again.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }

    pub(crate) async fn stranger(&self) -> Client {
        Client::connect(self.address, &self.root, None).await.unwrap()
    }

    /// A connection with the SVID that was issued for the TPM's node key.
    pub(crate) async fn own(&self, tpm: &VirtualTpm, admitted: &wire::Admitted) -> Client {
        let identity = (admitted.certificate_chain.clone(), tpm.node_pkcs8());
        Client::connect(self.address, &self.root, Some(identity)).await.unwrap()
    }

    /// Enrols a machine from the inventory.
    pub(crate) async fn enrol(&self, tpm: &mut VirtualTpm) -> wire::Admitted {
        self.stranger().await.attest(tpm, &self.boot).await.unwrap()
    }

    /// Enrols it and quotes on a connection of its own: the node stands.
    pub(crate) async fn stand(&self, tpm: &mut VirtualTpm) -> (Client, wire::Admitted) {
        let admitted = self.enrol(tpm).await;
        let own = self.own(tpm, &admitted).await;
        own.renew(tpm, &self.boot).await.unwrap();
        (own, admitted)
    }

    pub(crate) async fn node(&self, spiffe_id: &str) -> Node {
        self.store.node(NodeTarget::SpiffeId(spiffe_id.parse().unwrap())).await.unwrap().unwrap()
    }

    pub(crate) async fn act(&self, spiffe_id: &str, action: NodeAction) {
        let target = NodeTarget::SpiffeId(spiffe_id.parse().unwrap());
        self.store.act(target, action, BY, clock::now()).await.unwrap().unwrap();
    }

    pub(crate) async fn attempts(&self) -> Vec<AttemptRecord> {
        self.store.attempts(AttemptFilter::default()).await.unwrap()
    }

    pub(crate) async fn entry(&self, parent: Parent, path: &str) -> Entry {
        let draft = EntryDraft {
            id: String::new(),
            spiffe_id: id(path),
            parent,
            selectors: ["unix:uid:1000".parse().unwrap()].into(),
            x509_svid_ttl: 0,
            jwt_svid_ttl: 0,
            dns_names: Vec::new(),
            hint: String::new(),
            expires_at: None,
            federates_with: std::collections::BTreeSet::new(),
        };
        self.store.create_entry(draft, BY, clock::now()).await.unwrap().unwrap()
    }
}

pub(crate) async fn import(store: &dyn Store, root: &[u8], class: &str) {
    let draft = EndorsementDraft {
        role: EndorsementRole::Root,
        serves: EvidenceKind::Tpm.into(),
        content: root.to_vec(),
        class: class.to_owned(),
        name: format!("vendor {class}"),
        subject: "CN=Vendor".to_owned(),
        about: String::new(),
        not_after: UnixTime(i64::MAX),
        source: EndorsementSource::File,
        fetched_at: clock::now(),
    };
    store.import_endorsements(vec![draft], BY, clock::now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
}

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://example.org{path}").parse().unwrap()
}

/// The word that the peer was told.
pub(crate) fn word(status: &tonic::Status) -> &str {
    status.metadata().get("holdfast-reason").map_or("", |word| word.to_str().unwrap())
}

impl House {
    pub(crate) fn challenge_key(&self) -> std::path::PathBuf {
        self._directory.path().join("data/challenge.key")
    }

    /// What a challenge of this server asks, opened with its own key.
    pub(crate) fn items_of(&self, seal: &[u8], key: [u8; 32]) -> Vec<holdfast_evidence::ItemState> {
        use holdfast_evidence::crypto::SealKey;
        use holdfast_evidence::{Challenge, SealRing};
        let ring = SealRing::new(SealKey::new(key), None);
        let domain = "example.org".parse().unwrap();
        Challenge::open(seal, &ring, &domain, clock::now()).unwrap().items().to_vec()
    }
}
