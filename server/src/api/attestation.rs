//! `holdfast.agent.v1.Attestation`: reads requests within their limits and hands them to the desk.

use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::{
    CHUNK_BYTES_MAX, CSR_BYTES_MAX, EVIDENCE_ITEM_BYTES_MAX, MATERIALS_MAX, MEASURED_FILES_BYTES_MAX, SEAL_BYTES_MAX,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::answer::{Word, refused, unavailable};
use super::{answer_to, connection_of};
use crate::agent_stubs::attestation_server::Attestation;
use crate::clock;
use crate::desk::{Answer, Completed, Desk, Failure, Material, MessageRefused, Opened};
use crate::listen::Connection;
use crate::store::AttemptId;

/// From the first byte of an answer to its verdict: a large log over a thin line, a busy server.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(60);
/// For a challenge.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a public key.
const SPKI_BYTES_MAX: usize = 1 << 10;

/// The service.
pub struct AttestationService {
    /// Decides.
    pub desk: Arc<Desk>,
}

#[tonic::async_trait]
impl Attestation for AttestationService {
    async fn begin(&self, request: Request<wire::BeginRequest>) -> Result<Response<wire::BeginResponse>, Status> {
        let connection = connection_of(&request)?;
        let attempt = self.desk.name_attempt();
        let wire::BeginRequest { materials, has_measured_files, .. } = request.into_inner();
        let begun = timeout(BEGIN_TIMEOUT, async {
            if materials.len() > MATERIALS_MAX {
                return Err(Failure::Message(MessageRefused::Materials));
            }
            let materials = materials.into_iter().map(|one| Material { kind: one.kind, bytes: one.material }).collect();
            self.desk.begin(&connection, materials, has_measured_files).await
        });
        match begun.await {
            Ok(Ok(begun)) => Ok(Response::new(wire::BeginResponse {
                seal: begun.seal,
                nonce: begun.nonce,
                server_time: clock::now().seconds(),
                expires_at: begun.expires_at.seconds(),
                asks: begun.asks.into_iter().map(|ask| wire::Ask { kind: ask.kind, ask: ask.bytes }).collect(),
                measured_files: begun.measured_files.map(|offset| wire::MeasuredFilesAsk { offset }),
            })),
            Ok(Err(failure)) => Err(self.failed(&connection, attempt, &failure)),
            Err(_) => Err(unavailable(Some(attempt))),
        }
    }

    async fn complete(
        &self,
        request: Request<Streaming<wire::CompleteRequest>>,
    ) -> Result<Response<wire::CompleteResponse>, Status> {
        let connection = connection_of(&request)?;
        let attempt = self.desk.name_attempt();
        match timeout(COMPLETE_TIMEOUT, self.receive(&connection, attempt, request.into_inner())).await {
            Ok(Ok(completed)) => Ok(Response::new(self.completed(attempt, completed))),
            Ok(Err(failure)) => Err(self.failed(&connection, attempt, &failure)),
            Err(_) => Err(unavailable(Some(attempt))),
        }
    }
}

impl AttestationService {
    async fn receive(
        &self,
        connection: &Arc<Connection>,
        attempt: AttemptId,
        mut stream: Streaming<wire::CompleteRequest>,
    ) -> Result<Completed, Failure> {
        let Some(wire::complete_request::Part::Header(header)) = next(&mut stream).await? else {
            return Err(Failure::Message(MessageRefused::Header));
        };
        let answer = read_header(header)?;
        let list = answer.measured_files.map_or(0, |(_, length)| length);
        let wanted: usize = answer.items.iter().map(|(_, length)| length).sum::<usize>() + list;
        let mut opened = self.desk.open(connection, attempt, answer).await?;
        let mut received = Vec::new();
        while received.len() < wanted {
            let Some(wire::complete_request::Part::Chunk(chunk)) = next(&mut stream).await? else {
                return Err(Failure::Message(MessageRefused::Chunk));
            };
            if chunk.is_empty() || chunk.len() > CHUNK_BYTES_MAX || chunk.len() > wanted - received.len() {
                return Err(Failure::Message(MessageRefused::Chunk));
            }
            received.extend_from_slice(&chunk);
            if !opened.is_started() && (received.len() >= Opened::START_BYTES || received.len() == wanted) {
                self.desk.start(connection, &mut opened, &received).await?;
            }
        }
        if next(&mut stream).await?.is_some() {
            return Err(Failure::Message(MessageRefused::Trailing));
        }
        self.desk.complete(connection, opened, received).await
    }

    fn completed(&self, attempt: AttemptId, completed: Completed) -> wire::CompleteResponse {
        use wire::complete_response::Outcome;
        let outcome = match completed {
            Completed::Admitted(admitted) => Outcome::Admitted(wire::Admitted {
                spiffe_id: admitted.spiffe_id.to_string(),
                certificate_chain: admitted.svid.map(|svid| svid.chain).unwrap_or_default(),
                svid_not_after: admitted.svid_not_after.seconds(),
                evidence_expires_at: admitted.evidence_expires.seconds(),
                bundle: Some(admitted.bundle.to_message()),
                server_time: clock::now().seconds(),
                attempt_id: attempt.to_string(),
            }),
            Completed::NeedMore { all_pcr_values, firmware_log, measured_files } => {
                Outcome::NeedMore(wire::NeedMore { all_pcr_values, firmware_log, measured_files })
            }
        };
        wire::CompleteResponse { outcome: Some(outcome) }
    }

    fn failed(&self, connection: &Connection, attempt: AttemptId, failure: &Failure) -> Status {
        self.desk.note_failure(connection, attempt, failure);
        answer_to(failure, attempt)
    }
}

async fn next(stream: &mut Streaming<wire::CompleteRequest>) -> Result<Option<wire::complete_request::Part>, Failure> {
    // A message that is too large or does not decode ends the stream with an error of the transport.
    let message = stream.message().await.map_err(|_| Failure::Message(MessageRefused::Undecodable))?;
    match message {
        None => Ok(None),
        Some(wire::CompleteRequest { part: Some(part) }) => Ok(Some(part)),
        Some(wire::CompleteRequest { part: None }) => Err(Failure::Message(MessageRefused::Undecodable)),
    }
}

fn read_header(header: wire::AnswerHeader) -> Result<Answer, Failure> {
    let fits = header.seal.len() <= SEAL_BYTES_MAX
        && header.csr.len() <= CSR_BYTES_MAX
        && header.node_key_spki.len() <= SPKI_BYTES_MAX
        && (1..=MATERIALS_MAX).contains(&header.items.len());
    if !fits {
        return Err(Failure::Message(MessageRefused::Header));
    }
    let items = header
        .items
        .into_iter()
        .map(|item| {
            let length =
                usize::try_from(item.length).ok().filter(|length| (1..=EVIDENCE_ITEM_BYTES_MAX).contains(length));
            length.map(|length| (item.kind, length)).ok_or(Failure::Message(MessageRefused::ItemLength))
        })
        .collect::<Result<_, _>>()?;
    let measured_files = header.measured_files.map(|list| {
        let length = usize::try_from(list.length).ok().filter(|length| *length <= MEASURED_FILES_BYTES_MAX);
        length.map(|length| (list.offset, length)).ok_or(Failure::Message(MessageRefused::ItemLength))
    });
    let measured_files = measured_files.transpose()?;
    let wire::AnswerHeader { seal, node_key_spki, csr, .. } = header;
    Ok(Answer { seal, node_key_spki, csr, items, measured_files })
}

/// For a request that came without its connection: a fault of our own wiring.
pub(super) fn unwired() -> Status {
    refused(Word::Refused, None)
}
