//! The sinks of events: `[[events.webhook]]`, `[[events.syslog]]`, `[[events.file]]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use crate::outbox::{
    Destination, FileSettings, OnReject, SinkSettings, SyslogAddress, SyslogSettings, TypeFilter, WebhookSettings,
};
use crate::store::SinkStart;

/// Sinks in all: each is a task and a cursor.
const SINKS_MAX: usize = 32;
/// Events in one delivery at most.
const BATCH_MAX: u64 = 500;
/// Characters of a name.
const NAME_MAX: usize = 32;

/// Every sink, and what is wrong with them goes to `reader`.
pub(super) fn sinks(reader: &mut Reader) -> Vec<SinkSettings> {
    let mut sinks = Vec::new();
    for (table, destination) in [
        ("events.webhook", webhook as fn(&mut Reader) -> Option<Destination>),
        ("events.syslog", syslog),
        ("events.file", file),
    ] {
        for mut one in reader.tables(table) {
            let to = destination(&mut one);
            let sink = sink(&mut one, to);
            if let Some(sink) = &sink
                && sinks.iter().any(|other: &SinkSettings| other.name == sink.name)
            {
                one.refuse("name", format!("{:?} is another sink's name", sink.name));
            }
            sinks.extend(sink);
            reader.absorb(one);
        }
    }
    if sinks.len() > SINKS_MAX {
        reader.refuse("events", format!("expected at most {SINKS_MAX} sinks, found {}", sinks.len()));
    }
    sinks
}

fn sink(reader: &mut Reader, to: Option<Destination>) -> Option<SinkSettings> {
    let name = reader.parsed("name", |text| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=NAME_MAX).contains(&text.len()) && text.chars().all(plain) {
            return Ok(text.to_owned());
        }
        Err(format!("expected 1 to {NAME_MAX} of a-z, 0-9 and -, found {text:?}"))
    });
    let types = reader.texts("types");
    let types = TypeFilter::read(types).map_err(|problem| reader.refuse("types", problem)).ok();
    let batch = reader.number("batch", 1..=BATCH_MAX);
    let start = reader.one_of("from", &["head", "start"]);
    let on_reject = reader.one_of("on_reject", &["skip", "stop"]);
    Some(SinkSettings {
        name: name?,
        types: types?,
        start: if start? == "start" { SinkStart::First } else { SinkStart::Head },
        on_reject: if on_reject? == "stop" { OnReject::Stop } else { OnReject::Skip },
        batch: usize::try_from(batch?).ok()?,
        to: to?,
    })
}

fn webhook(reader: &mut Reader) -> Option<Destination> {
    let url = reader.parsed("url", address);
    let secret_file = reader.optional("secret_file", str::parse::<PathBuf>);
    let ed25519_file = reader.optional("ed25519_file", str::parse::<PathBuf>);
    let ca_file = reader.path("ca_file");
    let timeout = timeout(reader);
    if secret_file.is_none() && ed25519_file.is_none() {
        reader.refuse("secret_file", "is required, or ed25519_file: what is not signed could come from anybody");
        return None;
    }
    let webhook = WebhookSettings { url: url?, secret_file, ed25519_file, ca_file: ca_file?, timeout: timeout? };
    Some(Destination::Webhook(webhook))
}

fn syslog(reader: &mut Reader) -> Option<Destination> {
    let address = reader.parsed("address", str::parse::<SyslogAddress>);
    let ca_file = reader.path("ca_file");
    let number = reader.number("enterprise_number", 1..=u64::from(u32::MAX));
    let timeout = timeout(reader);
    Some(Destination::Syslog(SyslogSettings {
        address: address?,
        ca_file: ca_file?,
        enterprise_number: u32::try_from(number?).ok()?,
        timeout: timeout?,
    }))
}

fn file(reader: &mut Reader) -> Option<Destination> {
    let path = reader.parsed("path", |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(format!("expected an absolute path, found {text:?}")) }
    });
    let rotate = reader.number("rotate_mib", 0..=1 << 20);
    let keep = reader.number("keep", 0..=1000);
    let settings = FileSettings { path: path?, rotate_bytes: rotate? << 20, keep: u32::try_from(keep?).ok()? };
    Some(Destination::File(settings))
}

fn timeout(reader: &mut Reader) -> Option<Duration> {
    reader.seconds("timeout", 1..=120).and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

/// An https URL, or an http one of a loopback address; without a name and password, which would end up in lists.
fn address(text: &str) -> Result<String, String> {
    let expected = || {
        format!("expected an https URL without user and password (http only for a loopback address), found {text:?}")
    };
    let url = text.parse::<hyper::Uri>().map_err(|_| expected())?;
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let secure = match url.scheme_str() {
        Some("https") => true,
        Some("http") => loopback,
        _ => false,
    };
    let named = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if secure && !named && !host.is_empty() { Ok(text.to_owned()) } else { Err(expected()) }
}
