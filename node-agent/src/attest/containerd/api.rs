//! The questions to containerd, over its Unix socket. Each has its own connection, so that one that was restarted is
//! found again.

use std::collections::HashMap;
use std::path::PathBuf;

use holdfast_protocol::containerd::containerd as messages;
use hyper_util::rt::TokioIo;
use messages::services::containers::v1::{Container, GetContainerRequest};
use messages::services::images::v1::{GetImageRequest, Image};
use messages::services::tasks::v1::GetRequest;
use messages::v1::types::Status as TaskStatus;
use prost_types::Timestamp;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::{ContainerdFault, Held, Hold};
use crate::containerd_client_stubs::containerd::services::containers::v1::containers_client::ContainersClient;
use crate::containerd_client_stubs::containerd::services::images::v1::images_client::ImagesClient;
use crate::containerd_client_stubs::containerd::services::tasks::v1::tasks_client::TasksClient;

/// Bytes of an answer. Some kB; labels are what makes one long, and the specification, which is passed over.
pub(super) const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The header that names the namespace.
const NAMESPACE: &str = "containerd-namespace";
const TASK: &str = "Tasks.Get";
const CONTAINER: &str = "Containers.Get";
const IMAGE: &str = "Images.Get";

/// Where containerd listens.
pub(super) struct Api {
    socket: PathBuf,
}

/// A connection.
pub(super) struct Line {
    tasks: TasksClient<Channel>,
    containers: ContainersClient<Channel>,
    images: ImagesClient<Channel>,
}

/// What containerd says of a container.
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) labels: HashMap<String, String>,
    /// Name of the image; empty where there is none.
    pub(super) image: String,
    /// What that name meant when the container was made.
    pub(super) digest: Option<String>,
    /// Its first process; zero where none runs.
    pub(super) pid: i32,
    /// The same, held; `None` where none runs or it is out of sight.
    pub(super) first: Option<Held>,
}

impl Account {
    /// Whether the container ran when it was asked about, and its first process has exited since.
    pub(super) fn is_over(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first().is_err())
    }
}

impl Api {
    pub(super) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) async fn connect(&self) -> Result<Line, ContainerdFault> {
        let target = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let target = target.clone();
            async move { UnixStream::connect(target).await.map(TokioIo::new) }
        });
        // The name is for HTTP/2 alone; the connector knows the way.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
        let channel = channel.map_err(|source| ContainerdFault::Unreachable { socket: self.socket.clone(), source })?;
        Ok(Line {
            tasks: TasksClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            containers: ContainersClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            images: ImagesClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX),
        })
    }
}

impl Line {
    /// The container `id` of `namespace`; `None` if there is none.
    ///
    /// The first process is asked for and held before the container: while it lives, its ID is not given to another one.
    pub(super) async fn account(
        &mut self,
        namespace: &str,
        id: &str,
        hold: &Hold,
    ) -> Result<Option<Account>, ContainerdFault> {
        let pid = self.pid(namespace, id).await?;
        let first = if pid > 0 { hold(pid).ok() } else { None };
        let question = request(namespace, GetContainerRequest { id: id.to_owned() }, CONTAINER)?;
        let Some(answer) = found(self.containers.get(question).await, CONTAINER)? else { return Ok(None) };
        let answer = answer.container.filter(|container| container.id == id);
        let container = answer.ok_or(ContainerdFault::Answer { method: CONTAINER })?;
        let digest = self.digest(namespace, &container).await?;
        let Container { id: _, labels, image, created_at: _ } = container;
        Ok(Some(Account { namespace: namespace.to_owned(), labels, image, digest, pid, first }))
    }

    /// Number of the first process; zero where none runs.
    async fn pid(&mut self, namespace: &str, id: &str) -> Result<i32, ContainerdFault> {
        let question = request(namespace, GetRequest { container_id: id.to_owned() }, TASK)?;
        let Some(answer) = found(self.tasks.get(question).await, TASK)? else { return Ok(0) };
        let unusable = ContainerdFault::Answer { method: TASK };
        let Some(process) = answer.process else { return Err(unusable) };
        match process.status() {
            TaskStatus::Running | TaskStatus::Paused | TaskStatus::Pausing => {
                i32::try_from(process.pid).map_err(|_| unusable)
            }
            TaskStatus::Unknown | TaskStatus::Created | TaskStatus::Stopped => Ok(0),
        }
    }

    /// The digest that the image's name stood for when the container was made; `None` if that is not known any more.
    async fn digest(&mut self, namespace: &str, container: &Container) -> Result<Option<String>, ContainerdFault> {
        if container.image.is_empty() {
            return Ok(None);
        }
        let question = request(namespace, GetImageRequest { name: container.image.clone() }, IMAGE)?;
        let Some(answer) = found(self.images.get(question).await, IMAGE)? else { return Ok(None) };
        let answer = answer.image.filter(|image| image.name == container.image);
        let image = answer.ok_or(ContainerdFault::Answer { method: IMAGE })?;
        let is_the_same = is_unmoved(&image, container);
        Ok(image.target.map(|target| target.digest).filter(|digest| is_the_same && is_digest(digest)))
    }
}

/// Whether the image's name has not been given anew since the container was made.
fn is_unmoved(image: &Image, container: &Container) -> bool {
    let at = |time: &Timestamp| (time.seconds, time.nanos);
    match (&image.updated_at, &container.created_at) {
        (Some(updated), Some(created)) => at(updated) <= at(created),
        _ => false,
    }
}

fn is_digest(digest: &str) -> bool {
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn request<T>(namespace: &str, message: T, method: &'static str) -> Result<Request<T>, ContainerdFault> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(namespace).map_err(|_| ContainerdFault::Answer { method })?;
    request.metadata_mut().insert(NAMESPACE, value);
    Ok(request)
}

/// The answer; `None` where there is no such thing.
fn found<T>(answer: Result<Response<T>, Status>, method: &'static str) -> Result<Option<T>, ContainerdFault> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(ContainerdFault::Call { method, source: Box::new(status) }),
    }
}
