//! A stand-in of containerd's API on a Unix socket: knows the containers that it is told of, and counts the questions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_protocol::containerd::containerd as messages;
use messages::services::containers::v1::{Container, GetContainerRequest, GetContainerResponse};
use messages::services::images::v1::{GetImageRequest, GetImageResponse, Image};
use messages::services::tasks::v1::{GetRequest, GetResponse};
use messages::v1::types::Process;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status};

use crate::containerd_server_stubs::containerd::services as stubs;

/// What it knows, by namespace and name.
#[derive(Default)]
pub(super) struct State {
    pub(super) tasks: HashMap<(String, String), Process>,
    pub(super) containers: HashMap<(String, String), Container>,
    pub(super) images: HashMap<(String, String), Image>,
    /// What it answers in place of all this.
    pub(super) fault: Option<Code>,
    /// From the how-manieth question for a task on it has the tasks.
    pub(super) tasks_from: usize,
}

#[derive(Clone)]
struct Api {
    state: Arc<Mutex<State>>,
    asked: Arc<AtomicUsize>,
}

/// The stand-in, gone when dropped.
pub(super) struct StandIn {
    folder: tempfile::TempDir,
    api: Api,
    task: tokio::task::JoinHandle<()>,
}

impl StandIn {
    pub(super) fn with(state: State) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let api = Api { state: Arc::new(Mutex::new(state)), asked: Arc::default() };
        let server = tonic::transport::Server::builder()
            .add_service(stubs::containers::v1::containers_server::ContainersServer::new(api.clone()))
            .add_service(stubs::images::v1::images_server::ImagesServer::new(api.clone()))
            .add_service(stubs::tasks::v1::tasks_server::TasksServer::new(api.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self { folder, api, task }
    }

    pub(super) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("s")
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.api.state.lock().unwrap());
    }

    /// How many questions there were for a task.
    pub(super) fn asked(&self) -> usize {
        self.api.asked.load(Ordering::SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    /// The thing of this name in the namespace that the question names, as containerd looks it up.
    fn find<Q, T: Clone>(
        &self,
        question: &Request<Q>,
        name: &str,
        of: impl Fn(&State) -> &HashMap<(String, String), T>,
    ) -> Result<T, Status> {
        let state = self.state.lock().unwrap();
        if let Some(code) = state.fault {
            return Err(Status::new(code, "told so"));
        }
        let namespace = question.metadata().get("containerd-namespace");
        let namespace = namespace.ok_or_else(|| Status::failed_precondition("namespace is required"))?;
        let key = (namespace.to_str().unwrap().to_owned(), name.to_owned());
        of(&state).get(&key).cloned().ok_or_else(|| Status::not_found(name))
    }
}

#[tonic::async_trait]
impl stubs::tasks::v1::tasks_server::Tasks for Api {
    async fn get(&self, question: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let found = self.find(&question, &question.get_ref().container_id, |state| &state.tasks)?;
        if asked < self.state.lock().unwrap().tasks_from {
            return Err(Status::not_found("not yet"));
        }
        Ok(Response::new(GetResponse { process: Some(found) }))
    }
}

#[tonic::async_trait]
impl stubs::containers::v1::containers_server::Containers for Api {
    async fn get(&self, question: Request<GetContainerRequest>) -> Result<Response<GetContainerResponse>, Status> {
        let found = self.find(&question, &question.get_ref().id, |state| &state.containers)?;
        Ok(Response::new(GetContainerResponse { container: Some(found) }))
    }
}

#[tonic::async_trait]
impl stubs::images::v1::images_server::Images for Api {
    async fn get(&self, question: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        let found = self.find(&question, &question.get_ref().name, |state| &state.images)?;
        Ok(Response::new(GetImageResponse { image: Some(found) }))
    }
}
