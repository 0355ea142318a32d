//! `Policies.WhatIf`: asks the fleet in the background and sends what is heard.

use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::admin;
use holdfast_protocol::admin::what_if_answer::Answer as Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Admin;
use super::gate::{LISTS_WITHIN, compiled};
use super::plan::scope;
use super::policies::{check_size, finding, read_documents};
use super::refusal::{Refusal, argument};
use super::roles::{Found, readers};
use crate::fleet::{Answer, Effect, Floor, Group, Heard, Question, Side, WhatIf, what_if};
use crate::store::{Actor, Document, Mode, NewVersion, PolicyDraft, StoreFault};

/// Floors in one request.
const FLOORS_MAX: usize = 64;
/// Questions to the fleet at a time: each takes every core while it is asked.
pub const WHAT_IFS_MAX: usize = 2;
/// How long an answer waits for whoever asked.
const LISTENS_MAX: Duration = Duration::from_secs(30);

/// One message of the answer.
type Told = Result<admin::WhatIfAnswer, Status>;

pub(super) type Stream = ReceiverStream<Told>;

impl Admin {
    /// Asks in `by`'s name. What was `found` of machines is evidence: who is shown it stands in the record first.
    pub(super) async fn ask_what_if(
        &self,
        request: admin::WhatIfRequest,
        by: Actor,
        found: Found,
    ) -> Result<Stream, Refusal> {
        // A condition of one's own is answered for each machine: asked often enough, it tells every value.
        if found == Found::Withheld && !(request.documents.is_empty() && request.floors.is_empty()) {
            return Err(Refusal::Role { needed: format!("{}, to ask by a policy or floor of your own", readers()) });
        }
        let turn = self.what_ifs.clone().try_acquire_owned().map_err(|_| Refusal::Busy { limit: WHAT_IFS_MAX })?;
        if found == Found::Withheld && self.what_ifs.available_permits() == 0 {
            // Whoever only looks leaves a place to those who run the fleet, and takes no more of its cores than one of them.
            return Err(Refusal::Busy { limit: WHAT_IFS_MAX - 1 });
        }
        let (answers, stream) = mpsc::channel(64);
        let (floors, each) = (read_floors(&request.floors)?, request.nodes);
        let selectors = scope(&request.selectors)?;
        let now = self.store.rollout().await?.state;
        let (draft, documents) = if request.documents.is_empty() {
            let version = self.version(&request.version).await?;
            (PolicyDraft { name: version.name, documents: version.documents, ..empty() }, None)
        } else {
            (empty(), Some(request.documents))
        };
        let draft = match documents {
            None => draft,
            Some(documents) => {
                check_size(&documents, "")?;
                match read_documents(&documents) {
                    Ok((policy, _)) => PolicyDraft {
                        name: policy.version().name.clone(),
                        documents: documents.into_iter().map(|d| Document { name: d.name, text: d.text }).collect(),
                        ..empty()
                    },
                    Err(findings) => {
                        let findings = findings.iter().map(finding).collect();
                        let message = Message::Findings(admin::PolicyFindings { findings });
                        // The channel has room for one, and nobody can have closed it yet.
                        let _ = answers.send(Ok(admin::WhatIfAnswer { answer: Some(message) })).await;
                        return Ok(ReceiverStream::new(stream));
                    }
                }
            }
        };
        compiled(&draft.documents)?;
        let then = now.enforce(draft.digest(), selectors);
        if found == Found::Shown {
            self.reads.record(by, "what-if", draft.digest().to_string()).await?;
        }
        let name = draft.name.clone();
        let versions = [NewVersion { draft, signature: None, waivers: Vec::new() }];
        let policies = self.policies_of(&[&now, &then], &versions).await?;
        let mut question = self.question(&now, &then, policies, floors);
        question.lists_within = (found == Found::Withheld).then_some(LISTS_WITHIN);
        let question = Arc::new(question);
        let (store, limit) = (self.store.clone(), self.rollout.lost_max_per_mille);
        let (hear, mut heard) = mpsc::channel(64);
        let asked = question.clone();
        let asking = tokio::spawn(async move { what_if(store.as_ref(), asked, Some(hear)).await });
        tokio::spawn(async move {
            let _turn = turn;
            while let Some(heard) = heard.recv().await {
                let mut message = match heard {
                    Heard::Progress(done, nodes) => Message::Progress(admin::WhatIfProgress { done, nodes }),
                    Heard::Node(answer) if each && answer.effect != Effect::StillAdmitted => {
                        Message::Node(node(*answer))
                    }
                    Heard::Node(_) => continue,
                };
                found.withhold(&mut message);
                // Whoever asked has left, or does not listen; that ends the asking.
                if !told(&answers, Ok(admin::WhatIfAnswer { answer: Some(message) })).await {
                    return;
                }
            }
            let messages = match asking.await {
                Ok(Ok(fleet)) => summary(fleet, &question, name, limit, found),
                Ok(Err(fault)) => vec![Err(Refusal::from(fault).into())],
                Err(_) => vec![Err(Refusal::from(StoreFault::Unavailable).into())],
            };
            for message in messages {
                if !told(&answers, message).await {
                    return;
                }
            }
        });
        Ok(ReceiverStream::new(stream))
    }
}

fn empty() -> PolicyDraft {
    PolicyDraft { name: String::new(), documents: Vec::new(), mode: Mode::Retired, message: String::new() }
}

fn read_floors(texts: &[String]) -> Result<Vec<Floor>, Refusal> {
    if texts.len() > FLOORS_MAX {
        return Err(argument("floors", format!("{} floors, limit {FLOORS_MAX}", texts.len())));
    }
    texts.iter().map(|text| Floor::parse(text).map_err(|error| argument("floors", error.to_string()))).collect()
}

/// The groups, then the sum of it.
fn summary(fleet: WhatIf, question: &Question, policy: String, limit: u64, found: Found) -> Vec<Told> {
    let effects = fleet.effects().into_iter().map(|(effect, nodes)| (effect.as_str().to_owned(), nodes)).collect();
    let summary = admin::WhatIfSummary {
        policy,
        effects,
        lost: fleet.lost(),
        admitted: fleet.admitted(),
        lost_per_mille: fleet.lost_per_mille(),
        lost_max_per_mille: limit,
        rollout: question.now.number,
        logs: fleet.logs,
        milliseconds: fleet.milliseconds,
        found_withheld: found == Found::Withheld,
    };
    let mut groups: Vec<((Effect, Side), Group)> = fleet.groups.into_iter().collect();
    groups.sort_by_key(|((effect, _), group)| (*effect, std::cmp::Reverse(group.nodes)));
    let groups = groups.into_iter().map(|((effect, _), group)| {
        Message::Group(admin::WhatIfGroup {
            effect: effect.as_str().to_owned(),
            then: Some(side(group.then)),
            nodes: group.nodes,
            samples: group.samples,
        })
    });
    let messages = groups.chain([Message::Summary(summary)]).map(|mut message| {
        found.withhold(&mut message);
        Ok(admin::WhatIfAnswer { answer: Some(message) })
    });
    messages.collect()
}

/// Whether whoever asked took it, in good time: somebody who does not listen must not keep others from asking.
async fn told(answers: &mpsc::Sender<Told>, message: Told) -> bool {
    matches!(timeout(LISTENS_MAX, answers.send(message)).await, Ok(Ok(())))
}

impl Found {
    /// Leaves verdicts, rules and codes, and the names of facts.
    fn withhold(self, message: &mut Message) {
        let sides: [Option<&mut admin::WhatIfVerdict>; 2] = match (self, message) {
            (Self::Withheld, Message::Node(node)) => [node.now.as_mut(), node.then.as_mut()],
            (Self::Withheld, Message::Group(group)) => [group.then.as_mut(), None],
            (Self::Shown, _) | (Self::Withheld, Message::Progress(_) | Message::Summary(_) | Message::Findings(_)) => {
                return;
            }
        };
        for cause in sides.into_iter().flatten().flat_map(|side| &mut side.causes) {
            cause.expected.clear();
            cause.found.clear();
        }
    }
}

fn node(answer: Answer) -> admin::WhatIfNode {
    admin::WhatIfNode {
        node: answer.node.number.0,
        spiffe_id: answer.node.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        effect: answer.effect.as_str().to_owned(),
        now: Some(side(answer.now)),
        then: Some(side(answer.then)),
        at: answer.evidence.as_ref().map(|evidence| evidence.at.seconds()).unwrap_or_default(),
        attempt: answer.evidence.map(|evidence| evidence.attempt.to_string()).unwrap_or_default(),
    }
}

fn side(side: Side) -> admin::WhatIfVerdict {
    let causes = side.causes.into_iter().map(|cause| admin::WhatIfCause {
        code: cause.code,
        fact: cause.fact,
        expected: cause.expected,
        found: cause.found,
    });
    admin::WhatIfVerdict {
        verdict: side.word.as_str().to_owned(),
        policy: side.policy,
        rule: side.rule,
        alternative: side.alternative,
        code: side.code,
        causes: causes.collect(),
    }
}
