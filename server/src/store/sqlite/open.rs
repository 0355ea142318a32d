//! Opens the database file: lock, pragmas, migrations, one writer and a few readers.

use super::super::changes::{NOTICES_HELD, Revision};
use super::super::{Sha256, StoreFault};
use super::writer::{self, Tx, Watched, fault};
use super::{SqliteStore, StoreLimits, carry, listed_names};
use holdfast_identity::TrustDomain;
use ring::rand::{SecureRandom, SystemRandom};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr, SqlitePool};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// What the name of the file ends in whose lock says that a server runs here.
const LOCK: &str = "lock";
/// Connections that read; each has a thread and a page cache of its own.
const READERS: u32 = 4;
/// The same for reports: one that takes long leaves one for the others.
pub(super) const REPORTERS: u32 = 2;
/// Pages kept by each connection, in KiB.
const CACHE_KIB: &str = "-2048";

/// The schema's history. A text that was released is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../../migrations/sqlite/0001_first.sql")),
    (2, "endorsements", include_str!("../../../migrations/sqlite/0002_endorsements.sql")),
    (3, "merkle", include_str!("../../../migrations/sqlite/0003_merkle.sql")),
    (4, "bodies", include_str!("../../../migrations/sqlite/0004_bodies.sql")),
    (5, "rollout", include_str!("../../../migrations/sqlite/0005_rollout.sql")),
    (6, "ima", include_str!("../../../migrations/sqlite/0006_ima.sql")),
    (8, "outbox", include_str!("../../../migrations/sqlite/0008_outbox.sql")),
    (9, "owners", include_str!("../../../migrations/sqlite/0009_owners.sql")),
    (10, "rollout scopes", include_str!("../../../migrations/sqlite/0010_rollout.sql")),
    (11, "jwt", include_str!("../../../migrations/sqlite/0011_jwt.sql")),
    (12, "revocation", include_str!("../../../migrations/sqlite/0012_revocation.sql")),
    (13, "federation", include_str!("../../../migrations/sqlite/0013_federation.sql")),
    (14, "x509 authorities", include_str!("../../../migrations/sqlite/0014_x509_authorities.sql")),
    (15, "owners and exchanges", include_str!("../../../migrations/sqlite/0015_owners_and_exchanges.sql")),
    (16, "shared decisions", include_str!("../../../migrations/sqlite/0016_shared_decisions.sql")),
    (17, "withdrawn tokens", include_str!("../../../migrations/sqlite/0017_withdrawn_tokens.sql")),
    (18, "withdrawn of a node", include_str!("../../../migrations/sqlite/0018_withdrawn_of_a_node.sql")),
];

impl SqliteStore {
    /// Opens the store in the file `database`, making it if there is none. Only one server at a time has it.
    ///
    /// # Errors
    /// [`StoreFault::Database`] if another server has it, or the file cannot be opened, locked or migrated.
    pub async fn open(database: &Path, trust_domain: TrustDomain, limits: StoreLimits) -> Result<Self, StoreFault> {
        if let Some(directory) = database.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io("create the data directory"))?;
        }
        let lock = private_file(&database.with_extension(LOCK)).map_err(io("open the lock file"))?;
        lock.try_lock().map_err(|error| StoreFault::Database {
            verb: "lock the database",
            reason: format!("{error}: does another server use {}?", database.display()),
        })?;
        private_file(database).map_err(io("open the database file"))?;
        let options = options(database);

        let mut connection = options.connect().await.map_err(fault("open the database"))?;
        let applied = migrator().run(&mut connection).await;
        applied.map_err(|error| StoreFault::Database { verb: "migrate the database", reason: error.to_string() })?;
        carry::over(&mut connection).await?;
        listed_names::add(&mut connection).await?;
        let state = writer::load(&mut connection, draw()?).await?;

        let options = options.pragma("query_only", "on");
        let readers = pool(&options, READERS).await?;
        let reports = pool(&options, REPORTERS).await?;
        let revision = watch::Sender::new(Revision { epoch: state.epoch, n: state.n });
        let notices = broadcast::Sender::new(NOTICES_HELD);
        let watched = Watched { revision: revision.clone(), notices: notices.clone() };
        let queue = writer::start(Tx::new(connection, state), watched);
        Ok(Self {
            queue,
            readers,
            reports,
            revision,
            notices,
            trust_domain,
            limits,
            pruned: AtomicI64::new(0),
            passed: Arc::default(),
            _lock: lock,
        })
    }

    /// Opens the database of a server that is down, for reading alone: the audit's way in.
    ///
    /// # Errors
    /// [`StoreFault::Database`] if there is none or it cannot be read.
    pub async fn open_for_audit(database: &Path) -> Result<super::Archive, StoreFault> {
        let options = SqliteConnectOptions::new()
            .filename(database)
            .pragma("query_only", "on")
            .busy_timeout(Duration::from_secs(5));
        let readers = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(fault("open the database for reading"))?;
        Ok(super::Archive { readers })
    }
}

async fn pool(options: &SqliteConnectOptions, connections: u32) -> Result<SqlitePool, StoreFault> {
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        // A file does not hang up: a question before each question would be a third of what reading costs.
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10));
    pool.connect_with(options.clone()).await.map_err(fault("open the database for reading"))
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", CACHE_KIB)
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

fn migrator() -> Migrator {
    up_to(i64::MAX)
}

/// The schema's history as far as one version.
fn up_to(version: i64) -> Migrator {
    let history = MIGRATIONS.iter().filter(|(number, ..)| *number <= version);
    let migrations = history.map(|&(version, name, text)| {
        Migration::new(version, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Brings a database to an old version, for tests of what comes after.
#[cfg(test)]
pub(super) async fn migrate_to(connection: &mut sqlx::SqliteConnection, version: i64) {
    up_to(version).run(connection).await.unwrap();
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn io(verb: &'static str) -> impl FnOnce(std::io::Error) -> StoreFault {
    move |error| StoreFault::Database { verb, reason: error.to_string() }
}

fn draw() -> Result<[u8; 16], StoreFault> {
    let mut epoch = [0; 16];
    SystemRandom::new().fill(&mut epoch).map_err(|_| StoreFault::Unavailable)?;
    Ok(epoch)
}

impl TryFrom<Vec<u8>> for Sha256 {
    type Error = StoreFault;

    fn try_from(bytes: Vec<u8>) -> Result<Self, StoreFault> {
        bytes.try_into().map(Self).map_err(|_| StoreFault::Corrupt { what: "digest" })
    }
}
