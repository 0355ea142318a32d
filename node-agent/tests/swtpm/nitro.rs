//! A NitroTPM: swtpm behind a proxy that knows the vendor command, written from AWS's nitro-tpm-attest
//! (github.com/aws/NitroTPM-Tools), and the agent's collector on it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use holdfast_agent::tpm::{Access, Interface};
use holdfast_agent::vtpm::{NSM_REQUEST, Vtpm};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::binding::{BindingFields, binding_digest};

use super::machine::Bench;
use super::provider::{assembly, items, sources};

const NV_DEFINE_SPACE: u32 = 0x12a;
const NV_READ: u32 = 0x14e;
const NV_UNDEFINE_SPACE: u32 = 0x122;
const GET_CAPABILITY: u32 = 0x17a;
/// swtpm's largest index; a NitroTPM's takes a whole document.
const SWTPM_INDEX_BYTES: u16 = 2048;
const BUFFER_BYTES: usize = 8192;

/// What the proxy knows of each buffer.
#[derive(Default)]
struct Buffer {
    password: Vec<u8>,
    /// The module's answer, once it was asked.
    answer: Option<Vec<u8>>,
}

/// Answers a request with a document of its own.
type Module = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

struct Proxy {
    tpm: u16,
    buffers: Mutex<HashMap<u32, Buffer>>,
    module: Box<Module>,
}

/// Starts the proxy, and says at which port.
fn nitrotpm(bench: &Bench, module: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Access {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = Arc::new(Proxy { tpm: bench.machine.port(), buffers: Mutex::default(), module: Box::new(module) });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (proxy, stream) = (Arc::clone(&proxy), stream.unwrap());
            std::thread::spawn(move || proxy.serve(stream));
        }
    });
    Access { interface: Interface::Swtpm { host: "127.0.0.1".to_owned(), port }, ..bench.access.clone() }
}

fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; 10];
    stream.read_exact(&mut header).ok()?;
    let size = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
    let mut rest = vec![0; size - 10];
    stream.read_exact(&mut rest).ok()?;
    Some([header.to_vec(), rest].concat())
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn be16(bytes: &[u8], at: usize) -> usize {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

impl Proxy {
    fn serve(&self, mut stream: TcpStream) {
        let mut tpm = TcpStream::connect(("127.0.0.1", self.tpm)).unwrap();
        while let Some(command) = message(&mut stream) {
            let answer = self.answer(command, |command| {
                tpm.write_all(command).unwrap();
                message(&mut tpm).unwrap()
            });
            stream.write_all(&answer).unwrap();
        }
    }

    fn answer(&self, mut command: Vec<u8>, mut tpm: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut buffers = self.buffers.lock().unwrap();
        match be32(&command, 6) {
            GET_CAPABILITY if be32(&command, 10) == 2 && be32(&command, 14) == NSM_REQUEST => {
                hex::decode("8001000000170000000000000000020000000124000001").unwrap()
            }
            NV_DEFINE_SPACE => {
                // Handle, password session, the new index's password, its public area with the size at the end.
                let at = 14 + 4 + be32(&command, 14) as usize;
                let password = command[at + 2..at + 2 + be16(&command, at)].to_vec();
                let index = be32(&command, at + 2 + password.len() + 2);
                let size = command.len() - 2;
                assert_eq!(be16(&command, size), BUFFER_BYTES);
                command[size..].copy_from_slice(&SWTPM_INDEX_BYTES.to_be_bytes());
                buffers.insert(index, Buffer { password, answer: None });
                tpm(&command)
            }
            NV_UNDEFINE_SPACE => {
                buffers.remove(&be32(&command, 14));
                tpm(&command)
            }
            NV_READ => match buffers.get(&be32(&command, 14)).and_then(|buffer| buffer.answer.as_ref()) {
                Some(answer) => {
                    let (length, offset) = (be16(&command, command.len() - 4), be16(&command, command.len() - 2));
                    let part = &answer[offset..offset + length];
                    let parameters = [&(length as u16).to_be_bytes(), part].concat();
                    sessions(&[&(parameters.len() as u32).to_be_bytes(), &parameters[..], &[0, 0, 1, 0, 0]].concat())
                }
                None => tpm(&command),
            },
            NSM_REQUEST => {
                assert_eq!(be16(&command, 0), 0x8002);
                let index = be32(&command, 10);
                assert_eq!(index, be32(&command, 14));
                let buffer = buffers.get_mut(&index).unwrap();
                let request = read(index, &buffer.password, &mut tpm);
                let mut answer = (self.module)(&request);
                answer.resize(BUFFER_BYTES, 0xff);
                buffer.answer = Some(answer);
                sessions(&[0; 4])
            }
            _ => tpm(&command),
        }
    }
}

fn sessions(body: &[u8]) -> Vec<u8> {
    [&[0x80, 0x02], &(10 + body.len() as u32).to_be_bytes()[..], &[0; 4], body].concat()
}

/// The first bytes of an index, by its password.
fn read(index: u32, password: &[u8], tpm: &mut impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let session =
        [&0x4000_0009_u32.to_be_bytes()[..], &[0, 0, 0], &(password.len() as u16).to_be_bytes(), password].concat();
    let handles = [index.to_be_bytes(), index.to_be_bytes(), (session.len() as u32).to_be_bytes()].concat();
    let body = [handles, session, vec![2, 0, 0, 0]].concat();
    let command = [&[0x80, 0x02], &(10 + body.len() as u32).to_be_bytes()[..], &NV_READ.to_be_bytes(), &body].concat();
    let answer = tpm(&command);
    assert_eq!(be32(&answer, 6), 0, "the request was written");
    answer[16..16 + 512].to_vec()
}

/// The module's answer with this document.
fn attestation(document: &[u8]) -> Vec<u8> {
    [b"\xa1\x6bAttestation\xa1\x68document\x59", &(document.len() as u16).to_be_bytes()[..], document].concat()
}

fn loaded(bench: &Bench) -> (usize, usize) {
    let loaded = bench.machine.loaded_handles().unwrap();
    (loaded.transient.len(), loaded.sessions.len())
}

#[tokio::test]
async fn a_document_is_asked_for_through_the_tpm_and_nothing_stays_in_it() {
    let bench = Bench::new();
    // A document of the size of a real one that carries the request along.
    let access = nitrotpm(&bench, |request| attestation(&[request, &[9; 4800]].concat()));
    let assembly = assembly(&bench, &access, sources("nitrotpm"));
    let (nonce, items) = items(&assembly, &[]).await;
    let [(EvidenceKind::NitroTpm, item)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(&item[..5], [1, 0, 0, 0x14, 0xc0], "version, and the document's length");
    let spki = assembly.gatherer().await.unwrap().node_key().spki().await.unwrap();
    let binding = binding_digest(&BindingFields {
        trust_domain: &"td".parse().unwrap(),
        kinds: &[EvidenceKind::NitroTpm],
        nonce: &nonce,
        ak_name: &[],
        node_key_spki: &spki,
        ek_certificates: &[],
        selection: &[],
        firmware_log: None,
        others: &[],
    });
    let request = [
        &b"\xa1\x6bAttestation\xa3\x69user_data\x58\x20"[..],
        &binding,
        b"\x65nonce\x58\x20",
        &nonce,
        b"\x6apublic_key\xf6",
    ]
    .concat();
    assert_eq!(item[5..5 + request.len()], request);
    assert_eq!(loaded(&bench), (0, 0));
    let mut vtpm = Vtpm::open(&access).unwrap();
    assert!(!vtpm.handles(0x0180_0000).unwrap().contains(&0x0180_0000));
}

#[tokio::test]
async fn a_module_that_refuses_leaves_nothing_behind_either() {
    let bench = Bench::new();
    let access = nitrotpm(&bench, |_| b"\xa1\x65Error\x6dInternalError".to_vec());
    let gatherer = assembly(&bench, &access, sources("nitrotpm")).gatherer().await.unwrap();
    let asks = [(EvidenceKind::NitroTpm, Vec::new())];
    let fault = gatherer.items(&asks, &[1; 32], Default::default()).await.unwrap_err();
    assert_eq!(fault.code(), "agent.nsm.refused");
    assert_eq!(loaded(&bench), (0, 0));
}

#[tokio::test]
async fn a_tpm_without_the_command_says_so_and_is_cleaned_up() {
    let bench = Bench::new();
    let gatherer = assembly(&bench, &bench.access, sources("nitrotpm")).gatherer().await.unwrap();
    let asks = [(EvidenceKind::NitroTpm, Vec::new())];
    // swtpm takes no index of that size to begin with.
    let fault = gatherer.items(&asks, &[1; 32], Default::default()).await.unwrap_err();
    assert_eq!(fault.code(), "agent.vtpm.command");
    assert_eq!(loaded(&bench), (0, 0));
}

#[tokio::test]
async fn it_is_detected_only_where_nothing_else_speaks_for_the_tpm() {
    use holdfast_agent::collect::detect::detect;
    use holdfast_agent::collect::sources::Wanted;
    let bench = Bench::without_endorsement();
    let access = nitrotpm(&bench, |_| Vec::new());
    let found = detect(&sources("auto"), &access).chosen(&Wanted::Auto);
    assert_eq!(found.unwrap(), [EvidenceKind::NitroTpm]);
    let bench = Bench::new();
    let access = nitrotpm(&bench, |_| Vec::new());
    assert_eq!(detect(&sources("auto"), &access).chosen(&Wanted::Auto).unwrap(), [EvidenceKind::Tpm]);
}
