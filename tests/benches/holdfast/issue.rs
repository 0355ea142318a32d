//! What signing an SVID costs, above the signature; how much of the store's commit rate, and of what the cores could sign, is
//! left when each SVID is recorded before it is signed; and what it costs that a workload's can be withdrawn.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use holdfast_evidence::key::ProvenKey;
use holdfast_identity::TrustDomain;
use holdfast_server::authority::{AuthorityFiles, Draft, InitOptions, Issuer, init};
use holdfast_server::clock;
use holdfast_server::store::sqlite::{SqliteStore, StoreLimits};
use holdfast_server::store::{Changes as _, EntryNumber, Issuance, Issuances as _, NodeNumber, Origin, Recorded};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::floor;
use crate::report::{Row, load, median};

const TTL_SECONDS: i64 = 3600;
/// Rounds of which the median counts.
const ROUNDS: usize = 21;
/// SVIDs of one round.
const BATCH: usize = 200;
/// Who ask at the same time.
const CLIENTS: usize = 64;
/// SVIDs per client and round.
const PER_CLIENT: usize = 40;
/// Rounds of the recorded rate, in turn with its floor.
const RATE_ROUNDS: usize = 7;

/// A founded trust domain with its store on disk.
struct Place {
    _directory: tempfile::TempDir,
    issuer: Issuer,
    store: SqliteStore,
    csr: Vec<u8>,
}

impl Place {
    async fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let domain: TrustDomain = "bench.test".parse()?;
        let data = directory.path().join("data");
        let now = clock::now();
        init(&InitOptions::new(domain.clone(), data.clone(), directory.path().join("root.pem"), now))?;
        let issuer = Issuer::load(&domain, &AuthorityFiles::below(&data), now)?;
        let store = SqliteStore::open(
            &data.join("bench.sqlite"),
            domain,
            StoreLimits { entries_max: 1000, ..StoreLimits::default() },
        )
        .await?;
        let key = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::new(Vec::new())?.serialize_request(&key)?.der().to_vec();
        Ok(Self { _directory: directory, issuer, store, csr })
    }

    /// From the request's bytes to what will be recorded: the signature of the request is verified.
    fn draft(&self) -> anyhow::Result<Draft> {
        let key = ProvenKey::from_csr(black_box(&self.csr))?;
        Ok(self.issuer.draft_server(key.spki(), TTL_SECONDS, clock::now())?)
    }

    async fn record(&self, drafts: &[Draft]) -> anyhow::Result<Vec<Recorded>> {
        let issuances = drafts.iter().map(Draft::issuance).collect();
        let answers = self.store.record_issuances(issuances, 0, clock::now()).await?;
        Ok(answers.into_iter().collect::<Result<_, _>>()?)
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let place = Arc::new(Place::new().await?);
        let mut rows = vec![signed(&place).await?];
        rows.extend(recorded(&place).await?);
        rows.push(living(&place).await?);
        Ok(rows)
    })
}

/// SVIDs a second that are recorded on disk and signed, for rows whose floor it is.
pub fn recorded_rate() -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(async { recorded(&Arc::new(Place::new().await?)).await })?;
    Ok(rows.first().context("not measured")?.value)
}

async fn signed(place: &Place) -> anyhow::Result<Row> {
    let mut floor = floor();
    let (mut works, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let from = Instant::now();
        let drafts = (0..BATCH).map(|_| place.draft()).collect::<anyhow::Result<Vec<_>>>()?;
        let drafted = from.elapsed();
        let tokens = place.record(&drafts).await?;
        let from = Instant::now();
        for (draft, token) in drafts.iter().zip(tokens) {
            black_box(place.issuer.sign(draft, token)?);
        }
        works.push((drafted + from.elapsed()).as_secs_f64() * 1e6 / BATCH as f64);
        let from = Instant::now();
        (0..BATCH).for_each(|_| floor());
        floors.push(from.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
    }
    Ok(Row::new("issue_x509", median(&mut works), "us").floor(median(&mut floors)).note(
        "certificate request to signed SVID; the record's write between draft and signature is off this clock; \
         floor: 1 ring P-256 signing + 1 verification; aim 1.2",
    ))
}

/// One P-256 signature and one verification.
fn floor() -> impl FnMut() {
    let rng = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).expect("a key");
    let mut verify = floor::p256(1, 145);
    move || {
        black_box(pair.sign(&rng, black_box(&[7; 400]))).expect("a signature");
        verify();
    }
}

/// Signatures and verifications a second by as many threads as there are cores, who do nothing else.
fn signing_rate() -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let floors: Vec<_> = (0..threads).map(|_| floor()).collect();
    let from = Instant::now();
    std::thread::scope(|scope| {
        for mut floor in floors {
            scope.spawn(move || (0..CLIENTS * PER_CLIENT / threads).for_each(|_| floor()));
        }
    });
    rate(from)
}

async fn recorded(place: &Arc<Place>) -> anyhow::Result<Vec<Row>> {
    let (mut rates, mut floors, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RATE_ROUNDS {
        let mut prepared = Vec::new();
        for _ in 0..CLIENTS {
            let drafts = (0..PER_CLIENT).map(|_| Ok(place.draft()?.issuance())).collect::<anyhow::Result<Vec<_>>>()?;
            prepared.push(drafts);
        }
        floors.push(committed(place, prepared).await?);
        let from = Instant::now();
        let clients = (0..CLIENTS).map(|_| {
            let place = Arc::clone(place);
            tokio::spawn(async move {
                for _ in 0..PER_CLIENT {
                    let draft = place.draft()?;
                    let tokens = place.record(std::slice::from_ref(&draft)).await?;
                    for token in tokens {
                        black_box(place.issuer.sign(&draft, token)?);
                    }
                }
                anyhow::Ok(())
            })
        });
        all(clients.collect()).await?;
        rates.push(rate(from));
        signatures.push(tokio::task::spawn_blocking(signing_rate).await?);
    }
    let (value, committed, signed) = (median(&mut rates), median(&mut floors), median(&mut signatures));
    let floor = 1.0 / (1.0 / committed + 1.0 / signed);
    let recorded = Row::new("issue_x509_recorded", value, "per s").floor(floor).note(format!(
        "{CLIENTS} clients: request verified, recorded on disk, signed; floor: the same rows committed by the same clients \
         without anything else ({committed:.0} per s), and after that as many signatures and verifications on all cores; aim \
         0.7 or more; {}",
        load()
    ));
    let signed = Row::new("issue_x509_of_signing", value, "per s").floor(signed).note(format!(
        "the same; floor: 1 ring P-256 signing + 1 verification each, on all cores at once, nothing recorded; {}",
        load()
    ));
    Ok(vec![recorded, signed])
}

/// Commits a second, of one issuance by one client each.
async fn committed(place: &Arc<Place>, prepared: Vec<Vec<Issuance>>) -> anyhow::Result<f64> {
    let from = Instant::now();
    let clients = prepared.into_iter().map(|issuances| {
        let place = Arc::clone(place);
        tokio::spawn(async move {
            for issuance in issuances {
                let judged = place.store.revision().n;
                let answers = place.store.record_issuances(vec![issuance], judged, clock::now()).await?;
                anyhow::ensure!(black_box(answers).iter().all(Result::is_ok), "not recorded");
            }
            anyhow::Ok(())
        })
    });
    all(clients.collect()).await?;
    Ok(rate(from))
}

/// A workload's SVID is also remembered as living, so that it can be withdrawn; the server's own is not.
async fn living(place: &Arc<Place>) -> anyhow::Result<Row> {
    let (mut rates, mut floors) = (Vec::new(), Vec::new());
    for round in 0..RATE_ROUNDS {
        for (living, rates) in [(true, &mut rates), (false, &mut floors)] {
            let mut prepared = Vec::new();
            for client in 0..CLIENTS {
                let mut issuances = Vec::new();
                for number in 0..PER_CLIENT {
                    let mut issuance = place.draft()?.issuance();
                    if living {
                        let (node, entry) =
                            (NodeNumber(client as u64 + 1), EntryNumber((round * 8 + number % 8) as u64 + 1));
                        issuance.origin = Origin::Workload { node, entry, revision: 0 };
                    }
                    issuances.push(issuance);
                }
                prepared.push(issuances);
            }
            rates.push(committed(place, prepared).await?);
        }
    }
    Ok(Row::new("record_workload_svids", median(&mut rates), "per s").floor(median(&mut floors)).note(format!(
        "{CLIENTS} clients: workloads' SVIDs recorded on disk, and remembered until they end; floor: the server's own, which are \
         recorded alone; {}",
        load()
    )))
}

async fn all(clients: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    for client in clients {
        client.await??;
    }
    Ok(())
}

fn rate(from: Instant) -> f64 {
    (CLIENTS * PER_CLIENT) as f64 / from.elapsed().as_secs_f64()
}
