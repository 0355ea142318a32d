//! One attestation: begin, gather what the server asks, complete. The same for all three ways in; the server
//! decides what each costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_evidence::EvidenceKind;
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_protocol::agent as wire;
use holdfast_protocol::agent::complete_request::Part;
use holdfast_protocol::agent::complete_response::Outcome;
use holdfast_protocol::limits;

use super::verdict::Setback;
use crate::clock::ServerClock;
use crate::collect::{Assembly, CollectFault, Extras, Gatherer, Item, MeasuredFilesFile};
use crate::connection::Connection;
use crate::node_key::NodeKey;
use crate::trust::Trust;

/// How long the server may think about a challenge, and about a verdict (it may fetch something from a vendor).
const ANSWER: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(60));
/// Rounds in one exchange: the first, one for PCR values, one for the log, one for the list of measured files, one for a
/// challenge that aged.
const ROUNDS_MAX: usize = 5;

/// What an admitted node learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Who the node is.
    pub spiffe_id: SpiffeId,
    /// DER, leaf first; empty where the former SVID stays.
    pub chain: Vec<Vec<u8>>,
    /// End of the node SVID.
    pub svid_not_after: UnixTime,
    /// No SVID of this node outlives this moment.
    pub evidence_expires_at: UnixTime,
    /// Whether the trust bundle is a new one.
    pub new_bundle: bool,
    /// The attempt in the server's record.
    pub attempt: String,
    /// The kinds of evidence that were asked for and taken.
    pub evidence: Vec<EvidenceKind>,
}

/// What this agent attests with.
pub struct Exchanger {
    assembly: Assembly,
    measured_files: Option<MeasuredFilesFile>,
    trust: Arc<Trust>,
    clock: Arc<ServerClock>,
}

enum Round {
    Admitted(Box<wire::Admitted>),
    Again(Extras),
}

impl Exchanger {
    /// An exchanger for this machine.
    #[must_use]
    pub const fn new(assembly: Assembly, trust: Arc<Trust>, clock: Arc<ServerClock>) -> Self {
        Self { assembly, measured_files: None, trust, clock }
    }

    /// The same, with the kernel's list of measured files.
    #[must_use]
    pub fn with_measured_files(self, file: MeasuredFilesFile) -> Self {
        Self { measured_files: Some(file), ..self }
    }

    /// The key that the node's certificate is for.
    ///
    /// # Errors
    /// [`CollectFault`] where it is not known yet what this machine attests with.
    pub async fn node_key(&self) -> Result<NodeKey, CollectFault> {
        Ok(self.assembly.gatherer().await?.node_key().clone())
    }

    /// Attests on `connection`. On a connection without the node's own certificate it offers every endorsement key; on
    /// the node's own the attestation key is enough.
    ///
    /// # Errors
    /// [`Setback`]; only [`Setback::Refused`] says no.
    pub async fn attest(&self, connection: &Connection) -> Result<Admission, Setback> {
        let started = Instant::now();
        let outcome = match self.assembly.gatherer().await {
            Ok(gatherer) => self.rounds(connection, &gatherer).await,
            Err(fault) => Err(fault.into()),
        };
        if matches!(&outcome, Err(Setback::Refused(refusal)) if !refusal.awaits_approval) {
            self.assembly.refused().await;
        }
        let code = match &outcome {
            Ok(_) => "admitted",
            Err(setback) => setback.code(),
        };
        metrics::counter!("holdfast_agent_attestations_total", "code" => code).increment(1);
        metrics::histogram!("holdfast_agent_attestation_seconds").record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn rounds(&self, connection: &Connection, gatherer: &Gatherer) -> Result<Admission, Setback> {
        let mut extras = Extras::default();
        for _ in 0..ROUNDS_MAX {
            let result = self.round(connection, gatherer, extras).await;
            match result {
                Ok((Round::Admitted(admitted), evidence)) => {
                    gatherer.learn(extras);
                    self.assembly.admitted(&gatherer.kinds());
                    return self.admission(*admitted, evidence);
                }
                Ok((Round::Again(more), _)) => {
                    extras.all_pcr_values |= more.all_pcr_values;
                    extras.firmware_log |= more.firmware_log;
                    extras.measured_files |= more.measured_files;
                }
                Err(Setback::Again) => {}
                Err(setback) => return Err(setback),
            }
        }
        Err(Setback::Again)
    }

    /// One round, and the kinds that were asked for in it.
    async fn round(
        &self,
        connection: &Connection,
        gatherer: &Gatherer,
        extras: Extras,
    ) -> Result<(Round, Vec<EvidenceKind>), Setback> {
        let materials = gatherer.materials(!connection.is_nodes_own()).await?;
        let measured_files = self.measured_files.as_ref().filter(|file| file.is_there());
        let begun = begin(connection, materials, measured_files.is_some()).await?;
        self.clock.learn(UnixTime(begun.server_time));
        let nonce =
            <[u8; 32]>::try_from(begun.nonce.as_slice()).map_err(|_| Setback::Answer("nonce is not 32 bytes"))?;
        let asks: Vec<Item> = begun
            .asks
            .into_iter()
            .map(|ask| {
                Ok((ask.kind.parse().map_err(|_| Setback::Answer("asks for an unknown kind of evidence"))?, ask.ask))
            })
            .collect::<Result<_, Setback>>()?;
        let items = gatherer.items(&asks, &nonce, extras).await?;
        // After the quote: what it covers must be there.
        let measured = match (measured_files, begun.measured_files) {
            (Some(file), Some(wanted)) => {
                let offset = if extras.measured_files { 0 } else { wanted.offset };
                Some((offset, file.read(offset).await?))
            }
            _ => None,
        };
        let node_key = gatherer.node_key();
        // A TPM alone certifies its key; on the node's own connection the handshake was signed with it, which a TPM need
        // not do again. Everything else needs the key's own word.
        let csr = match (asks.as_slice(), node_key) {
            ([(EvidenceKind::Tpm, _)], _) => Vec::new(),
            (_, NodeKey::Tpm(_)) if connection.is_nodes_own() => Vec::new(),
            _ => node_key.request().await?,
        };
        let round = complete(connection, begun.seal, node_key.spki().await?, csr, items, measured).await?;
        Ok((round, asks.into_iter().map(|(kind, _)| kind).collect()))
    }

    fn admission(&self, admitted: wire::Admitted, evidence: Vec<EvidenceKind>) -> Result<Admission, Setback> {
        self.clock.learn(UnixTime(admitted.server_time));
        let spiffe_id: SpiffeId =
            admitted.spiffe_id.parse().map_err(|_| Setback::Answer("node's name is no SPIFFE ID"))?;
        if !spiffe_id.is_member_of(self.trust.trust_domain()) {
            return Err(Setback::Answer("node's name is of another trust domain"));
        }
        let new_bundle = match &admitted.bundle {
            Some(bundle) => self.trust.learn(bundle)?,
            None => false,
        };
        Ok(Admission {
            spiffe_id,
            chain: admitted.certificate_chain,
            svid_not_after: UnixTime(admitted.svid_not_after),
            evidence_expires_at: UnixTime(admitted.evidence_expires_at),
            new_bundle,
            attempt: admitted.attempt_id,
            evidence,
        })
    }
}

async fn begin(
    connection: &Connection,
    materials: Vec<Item>,
    has_measured_files: bool,
) -> Result<wire::BeginResponse, Setback> {
    let request = wire::BeginRequest {
        materials: materials
            .into_iter()
            .map(|(kind, material)| wire::IdentityMaterial { kind: kind.as_str().to_owned(), material })
            .collect(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        has_measured_files,
    };
    match tokio::time::timeout(ANSWER.0, connection.attestation().begin(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Setback::from(&status)),
        Err(_) => Err(Setback::Timeout { step: "begin", seconds: ANSWER.0.as_secs() }),
    }
}

async fn complete(
    connection: &Connection,
    seal: Vec<u8>,
    node_key_spki: Vec<u8>,
    csr: Vec<u8>,
    items: Vec<Item>,
    measured: Option<(u64, Vec<u8>)>,
) -> Result<Round, Setback> {
    let mut headers = Vec::with_capacity(items.len());
    for (kind, item) in &items {
        let length = u32::try_from(item.len()).map_err(|_| Setback::Answer("evidence is too large"))?;
        headers.push(wire::ItemHeader { kind: kind.as_str().to_owned(), length });
    }
    let mut bytes: Vec<u8> = items.into_iter().flat_map(|(_, item)| item).collect();
    let measured_files = match measured {
        Some((offset, list)) => {
            let length = u32::try_from(list.len()).map_err(|_| Setback::Answer("list of files is too large"))?;
            bytes.extend(list);
            Some(wire::MeasuredFilesHeader { offset, length })
        }
        None => None,
    };
    let header = wire::AnswerHeader { seal, node_key_spki, csr, items: headers, measured_files };
    let mut parts = vec![wire::CompleteRequest { part: Some(Part::Header(header)) }];
    parts.extend(
        bytes
            .chunks(limits::CHUNK_BYTES_MAX)
            .map(|chunk| wire::CompleteRequest { part: Some(Part::Chunk(chunk.to_vec())) }),
    );
    let mut client = connection.attestation();
    let answer = match tokio::time::timeout(ANSWER.1, client.complete(tokio_stream::iter(parts))).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return Err(Setback::from(&status)),
        Err(_) => return Err(Setback::Timeout { step: "complete", seconds: ANSWER.1.as_secs() }),
    };
    match answer.outcome {
        Some(Outcome::Admitted(admitted)) => Ok(Round::Admitted(Box::new(admitted))),
        Some(Outcome::NeedMore(more)) => {
            let wire::NeedMore { all_pcr_values, firmware_log, measured_files } = more;
            Ok(Round::Again(Extras { all_pcr_values, firmware_log, measured_files }))
        }
        None => Err(Setback::Answer("neither admitted nor asked for more")),
    }
}
