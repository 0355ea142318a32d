//! One sink's connection to the world, whatever it is.

use std::time::Duration;

use super::event::{Event, Source};
use super::file::EventFile;
use super::settings::{Destination, SinkSettings};
use super::signature::KeyFault;
use super::syslog::Syslog;
use super::webhook::Webhook;

/// What became of a delivery.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The receiver has it.
    Taken,
    /// The receiver will not have this, whenever it comes.
    Rejected(String),
    /// It did not get through this time.
    Failed {
        /// In words.
        why: String,
        /// When the receiver wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The receiver wants nothing any more.
    Gone(String),
}

impl Delivery {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), retry_after: None }
    }
}

/// What sends.
pub(super) enum Sender {
    Webhook(Box<Webhook>),
    Syslog(Box<Syslog>),
    File(EventFile),
}

impl Sender {
    pub(super) fn new(settings: &SinkSettings) -> Result<Self, KeyFault> {
        Ok(match &settings.to {
            Destination::Webhook(settings) => Self::Webhook(Box::new(Webhook::new(settings)?)),
            Destination::Syslog(settings) => Self::Syslog(Box::new(Syslog::new(settings))),
            Destination::File(settings) => Self::File(EventFile::new(settings)),
        })
    }

    /// Hands over `events`, in order, all of them or (as the receiver may have taken some) all of them again.
    pub(super) async fn deliver(&mut self, events: &[Event], source: &Source) -> Delivery {
        match self {
            Self::Webhook(webhook) => webhook.deliver(events, source).await,
            Self::Syslog(syslog) => syslog.deliver(events, source).await,
            Self::File(file) => file.deliver(events, source).await,
        }
    }
}
