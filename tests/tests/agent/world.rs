//! A trust domain for one test: a server on SQLite that can be stopped and started again, machines, and their agents.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use holdfast_agent::clock::{ServerClock, wall};
use holdfast_agent::collect::{Assembly, FirmwareLogFile, Gatherer, MeasuredFilesFile};
use holdfast_agent::config::{Bootstrap, ServerAddress};
use holdfast_agent::connection::Opener;
use holdfast_agent::enrol::{Exchanger, Keeper, Parts};
use holdfast_agent::state::StateDir;
use holdfast_agent::status::{Standing, Status};
use holdfast_agent::svids::{SvidCache, SvidSource, SvidState};
use holdfast_agent::tpm::{Access, Interface, Ownership, Patience, Tpm};
use holdfast_agent::trust::Trust;
use holdfast_evidence::EvidenceKind;
use holdfast_identity::{Selector, TrustDomain};
use holdfast_server::authority::{self, InitOptions};
use holdfast_server::config::Config;
use holdfast_server::serve::{ServeOptions, Server};
use holdfast_server::store::sqlite::{SqliteStore, StoreLimits};
use holdfast_server::store::{
    Actor, Allowed, Document, EndorsementDraft, EndorsementRole, EndorsementSource, Entry, EntryDraft, Mode, Parent,
    PolicyDraft, Sha256, Store,
};
use holdfast_tpm_sim::{Machine, Powered, Profile, Vendor};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const DOMAIN: &str = "example.org";
const POLICY: &str = include_str!("../../../policies/shipped/simulated-machines.toml");

/// Machines of one vendor, manufactured once.
struct Factory {
    place: TempDir,
    root_pem: String,
}

fn factory() -> &'static Factory {
    static FACTORY: OnceLock<Factory> = OnceLock::new();
    FACTORY.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let vendor = Vendor::ephemeral().unwrap();
        let mut root_pem = String::new();
        for index in 0..2 {
            let machine = Machine::manufacture(&place.path().join(index.to_string()), &vendor, index).unwrap();
            root_pem = machine.vendor_root_pem().to_owned();
        }
        Factory { place, root_pem }
    })
}

pub(crate) struct World {
    pub(crate) place: TempDir,
    options: ServeOptions,
    running: Option<Running>,
}

/// A server in a runtime of its own, so that nothing of it outlives its end.
struct Running {
    store: Arc<SqliteStore>,
    stop: CancellationToken,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn operator() -> Actor {
    Actor::Operator { uid: 0, name: "root".to_owned() }
}

impl World {
    /// A trust domain whose server runs, trusts the simulator's vendor, and admits simulated machines of its inventory.
    pub(crate) async fn new() -> Self {
        Self::with_policy(POLICY).await
    }

    /// The same with node SVIDs that live so many seconds.
    pub(crate) async fn with_node_svids_of(seconds: i64) -> Self {
        Self::build(POLICY, |options| options.desk.node_svid_ttl_max = seconds).await
    }

    pub(crate) async fn with_policy(policy: &str) -> Self {
        Self::build(policy, |_| ()).await
    }

    async fn build(policy: &str, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let data_dir = place.path().join("server");
        let domain: TrustDomain = DOMAIN.parse().unwrap();
        let init = InitOptions::new(domain, data_dir.clone(), place.path().join("root.key"), wall());
        authority::init(&init).unwrap();
        let file = place.path().join("server.toml");
        let text = format!(
            "trust_domain = \"{DOMAIN}\"\ndata_dir = \"{}\"\nlisten = \"127.0.0.1:0\"\nadmin_socket = \"{}\"\nallow_simulated = true\n\
             [endorsements]\namd_url = \"none\"\nintel_url = \"none\"\n",
            data_dir.display(),
            place.path().join("admin.sock").display()
        );
        std::fs::write(&file, text).unwrap();
        let mut options = ServeOptions::from(&Config::load(&file).unwrap());
        change(&mut options);
        let mut world = Self { place, options, running: None };
        world.start().await;
        world.apply(policy).await;
        let der = pem::parse(&factory().root_pem).unwrap().into_contents();
        let root = EndorsementDraft {
            role: EndorsementRole::Root,
            serves: EvidenceKind::Tpm.into(),
            content: der,
            class: "simulated".to_owned(),
            name: "simulator".to_owned(),
            subject: String::new(),
            about: String::new(),
            not_after: wall().plus(86_400),
            source: EndorsementSource::File,
            fetched_at: wall(),
        };
        world.store().import_endorsements(vec![root], operator(), wall()).await.unwrap();
        world
    }

    /// Starts the server, on the port it had before if there was one.
    pub(crate) async fn start(&mut self) {
        let runtime = Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let (options, stopped) = (self.options.clone(), stop.clone());
        let database = options.data_dir.join("holdfast.sqlite");
        let building = async move {
            let store = SqliteStore::open(&database, DOMAIN.parse().unwrap(), StoreLimits::default()).await.unwrap();
            let store = Arc::new(store);
            let server = Server::build(options, Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
            let address = server.address();
            tokio::spawn(server.serve(stopped));
            (store, address)
        };
        let (store, address) = tokio::task::block_in_place(|| runtime.block_on(building));
        self.options.listen = address;
        self.running = Some(Running { store, stop, runtime: Some(runtime) });
    }

    /// Ends the server, as its process would end: connections and all.
    pub(crate) async fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        running.stop.cancel();
        let store = Arc::clone(&running.store) as Arc<dyn Store>;
        store.close().await;
        running.runtime.take().unwrap().shutdown_background();
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.running.as_ref().unwrap().store.as_ref()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.options.listen
    }

    pub(crate) async fn apply(&self, policy: &str) {
        self.apply_with(policy, &[]).await;
    }

    /// A policy and the files that it names.
    pub(crate) async fn apply_with(&self, policy: &str, files: &[(&str, &str)]) {
        let document = |(name, text): (&str, &str)| Document { name: name.to_owned(), text: text.to_owned() };
        let documents = std::iter::once(("policy.toml", policy)).chain(files.iter().copied()).map(document);
        // Its own name, as the admin socket reads it: it is in the version's digest.
        let own = policy.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let draft = PolicyDraft {
            name: own.unwrap().to_owned(),
            documents: documents.collect(),
            mode: Mode::Enforce,
            message: "for this test".to_owned(),
        };
        self.store().apply_policy(draft, operator(), wall()).await.unwrap();
    }

    pub(crate) async fn allow(&self, machine: &Powered) {
        let key = |digest: String| Allowed { digest: Sha256::from_hex(&digest).unwrap(), label: String::new() };
        let keys = machine.machine().endorsements().iter().map(|ek| key(ek.certificate_sha256())).collect();
        self.store().allow(keys, operator(), wall()).await.unwrap();
    }

    /// An entry for workloads with `selector` on every simulated machine.
    pub(crate) async fn entry(&self, path: &str, selector: &str) -> Entry {
        self.entry_of(path, selector, 0).await
    }

    /// The same with SVIDs that live so many seconds.
    pub(crate) async fn entry_of(&self, path: &str, selector: &str, seconds: i64) -> Entry {
        let draft = EntryDraft {
            id: String::new(),
            spiffe_id: format!("spiffe://{DOMAIN}{path}").parse().unwrap(),
            parent: Parent::Selectors(selectors("tpm:class:simulated")),
            selectors: selectors(selector),
            x509_svid_ttl: seconds,
            jwt_svid_ttl: 0,
            dns_names: Vec::new(),
            hint: String::new(),
            expires_at: None,
            federates_with: BTreeSet::new(),
        };
        self.store().create_entry(draft, operator(), wall()).await.unwrap().unwrap()
    }

    /// A copy of one of the factory's machines, booted.
    pub(crate) fn machine(&self, index: usize) -> Powered {
        let machine = self.at_rest(index).start(&profile()).unwrap();
        machine.forget_commands();
        machine
    }

    /// The same before it is booted.
    pub(crate) fn at_rest(&self, index: usize) -> Machine {
        let directory = tempfile::tempdir_in(self.place.path()).unwrap().keep().join("machine");
        let template = factory().place.path().join(index.to_string());
        Machine::copy_of(&template, &directory).unwrap()
    }

    pub(crate) fn agent(&self, machine: &Powered) -> Agent {
        Agent::start(self.address(), self.bundle(), machine, &machine.machine().directory().join("agent"))
    }

    pub(crate) fn bundle(&self) -> Bootstrap {
        Bootstrap::Bundle(self.options.data_dir.join("authority").join("bundle.pem"))
    }
}

/// The root of the simulator's vendor, PEM.
pub(crate) fn vendor_root() -> &'static str {
    &factory().root_pem
}

pub(crate) fn profile() -> Profile {
    Profile::load("shim-grub").unwrap()
}

pub(crate) fn selectors(text: &str) -> BTreeSet<Selector> {
    BTreeSet::from([text.parse().unwrap()])
}

/// An agent without its sockets.
pub(crate) struct Agent {
    pub(crate) tpm: Tpm,
    pub(crate) cache: Arc<SvidCache>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Agent {
    pub(crate) fn start(server: SocketAddr, bootstrap: Bootstrap, machine: &Powered, directory: &Path) -> Self {
        let server = ServerAddress::Tcp { host: server.ip().to_string(), port: server.port() };
        Self::start_at(server, bootstrap, machine, directory)
    }

    pub(crate) fn start_at(server: ServerAddress, bootstrap: Bootstrap, machine: &Powered, directory: &Path) -> Self {
        Self::build(server, bootstrap, machine, directory, Ownership::default())
    }

    /// One that offers something else beside its endorsement keys.
    pub(crate) fn offering(world: &World, machine: &Powered, change: impl FnOnce(&mut Ownership)) -> Self {
        let (address, mut ownership) = (world.address(), Ownership::default());
        change(&mut ownership);
        let server = ServerAddress::Tcp { host: address.ip().to_string(), port: address.port() };
        Self::build(server, world.bundle(), machine, &machine.machine().directory().join("agent"), ownership)
    }

    fn build(
        server: ServerAddress,
        bootstrap: Bootstrap,
        machine: &Powered,
        directory: &Path,
        ownership: Ownership,
    ) -> Self {
        let state = StateDir::open(directory).unwrap();
        let access = Access {
            interface: Interface::Swtpm { host: "127.0.0.1".to_owned(), port: machine.port() },
            ak_handle: 0x8148_4600,
            node_key_handle: 0x8148_4601,
            owner_auth: None,
            endorsement_auth: None,
            ownership,
        };
        let domain: TrustDomain = DOMAIN.parse().unwrap();
        let tpm = Tpm::start(access, state.clone(), Patience::default(), |stall| panic!("{stall}")).unwrap();
        let trust = Arc::new(Trust::load(domain.clone(), &bootstrap, state.clone()).unwrap());
        let clock = Arc::new(ServerClock::default());
        let cache = Arc::new(SvidCache::new(Arc::clone(&clock)));
        let (sender, status) = watch::channel(Arc::default());
        let log = FirmwareLogFile(machine.machine().firmware_log_path());
        let keeper = Keeper::new(Parts {
            opener: Opener::new(server, Arc::clone(&trust)),
            exchanger: Exchanger::new(
                Assembly::fixed(Gatherer::tpm(&tpm, log, domain)),
                Arc::clone(&trust),
                Arc::clone(&clock),
            )
            .with_measured_files(MeasuredFilesFile(machine.machine().measured_files_path())),
            trust,
            clock,
            cache: Arc::clone(&cache),
            state,
            status: sender,
        });
        let stop = CancellationToken::new();
        let running = tokio::spawn(keeper.run(Arc::default(), stop.clone()));
        Self { tpm, cache, status, stop, running }
    }

    pub(crate) async fn until(&mut self, seconds: u64, wanted: impl FnMut(&Arc<Status>) -> bool) -> Arc<Status> {
        let mut status = self.status.clone();
        match tokio::time::timeout(Duration::from_secs(seconds), status.wait_for(wanted)).await {
            Ok(status) => Arc::clone(&status.unwrap()),
            Err(_) => panic!("still {:#?}", self.status.borrow()),
        }
    }

    pub(crate) async fn until_connected(&mut self) -> Arc<Status> {
        self.until(20, |status| status.standing == Standing::Admitted && status.connected).await
    }

    pub(crate) fn watch(&self, selector: &str) -> watch::Receiver<SvidState> {
        self.cache.subscribe(selectors(selector))
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.tpm.close().await;
    }
}

/// Waits until a workload's state is as wanted.
pub(crate) async fn until(
    state: &mut watch::Receiver<SvidState>,
    seconds: u64,
    wanted: impl FnMut(&SvidState) -> bool,
) -> SvidState {
    let now = state.clone();
    match tokio::time::timeout(Duration::from_secs(seconds), state.wait_for(wanted)).await {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("still {:?}", now.borrow()),
    }
}

pub(crate) fn ready(state: &SvidState) -> bool {
    matches!(state, SvidState::Ready(_))
}

pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

pub(crate) fn millis(since: Instant) -> u128 {
    since.elapsed().as_millis()
}

pub(crate) fn now() -> holdfast_identity::UnixTime {
    wall()
}
