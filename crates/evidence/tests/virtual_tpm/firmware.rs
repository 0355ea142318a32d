//! A firmware that measures: a crypto-agile log and the registers that it leads to.

use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::event_log::Replay;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

const EV_SEPARATOR: u32 = 0x4;
const EV_S_CRTM_VERSION: u32 = 0x8;
const EV_IPL: u32 = 0xd;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;

/// EFI_GLOBAL_VARIABLE.
const GLOBAL: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE.
const DATABASE: [u8; 16] =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];

/// One event: what is measured may be something else than its data.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) pcr: u32,
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) measured: Vec<u8>,
}

impl Event {
    pub(crate) fn new(pcr: u32, kind: u32, data: &[u8]) -> Self {
        Self { pcr, kind, data: data.to_vec(), measured: data.to_vec() }
    }

    pub(crate) fn application(path: &str, image: &[u8]) -> Self {
        let (data, measured) = (path.as_bytes().to_vec(), image.to_vec());
        Self { pcr: 4, kind: EV_EFI_BOOT_SERVICES_APPLICATION, data, measured }
    }

    pub(crate) fn command_line(text: &str) -> Self {
        let data = format!("kernel_cmdline: {text}\0").into_bytes();
        Self { pcr: 8, kind: EV_IPL, data, measured: text.as_bytes().to_vec() }
    }

    fn variable(vendor: [u8; 16], name: &str, content: &[u8]) -> Self {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let data = [
            &vendor[..],
            &(name.len() as u64 / 2).to_le_bytes(),
            &(content.len() as u64).to_le_bytes(),
            &name,
            content,
        ]
        .concat();
        Self::new(7, EV_EFI_VARIABLE_DRIVER_CONFIG, &data)
    }
}

/// What was measured in one boot.
#[derive(Clone)]
pub(crate) struct Firmware {
    pub(crate) events: Vec<Event>,
    /// Extended after the firmware has handed over: in the registers, in no log.
    pub(crate) later: Vec<(u32, Vec<u8>)>,
}

impl Firmware {
    /// A boot with Secure Boot on, shim, GRUB and a kernel.
    pub(crate) fn typical() -> Self {
        let mut events = vec![Event::new(0, EV_S_CRTM_VERSION, b"virtual 1.0")];
        events.push(Event::variable(GLOBAL, "SecureBoot", &[1]));
        for (vendor, name) in [(GLOBAL, "PK"), (GLOBAL, "KEK"), (DATABASE, "db"), (DATABASE, "dbx")] {
            events.push(Event::variable(vendor, name, &[]));
        }
        events.extend((0..8).map(|pcr| Event::new(pcr, EV_SEPARATOR, &[0; 4])));
        events.push(Event::application("shim", b"shim image"));
        events.push(Event::application("grub", b"grub image"));
        events.push(Event::application("kernel", b"kernel image"));
        events.push(Event::command_line("ro quiet"));
        Self { events, later: Vec::new() }
    }

    /// The log with SHA-256 and SHA-384 digests.
    pub(crate) fn log(&self) -> Vec<u8> {
        let spec = [
            &b"Spec ID Event03\0"[..],
            &[0, 0, 0, 0, 0, 2, 0, 2],
            &2u32.to_le_bytes(),
            &[0x0b, 0, 32, 0, 0x0c, 0, 48, 0],
            &[0],
        ]
        .concat();
        let mut log = [&0u32.to_le_bytes()[..], &3u32.to_le_bytes(), &[0; 20]].concat();
        log.extend((spec.len() as u32).to_le_bytes());
        log.extend(spec);
        for event in &self.events {
            log.extend(event.pcr.to_le_bytes());
            log.extend(event.kind.to_le_bytes());
            log.extend(2u32.to_le_bytes());
            for bank in [Bank::Sha256, Bank::Sha384] {
                log.extend(bank.id().to_le_bytes());
                log.extend(bank.digest(&[&event.measured]).as_bytes());
            }
            log.extend((event.data.len() as u32).to_le_bytes());
            log.extend(&event.data);
        }
        log
    }

    /// The registers after all of it.
    pub(crate) fn pcrs(&self, bank: Bank) -> PcrValues {
        let mut values = PcrValues::new(bank);
        for pcr in PcrIndex::all() {
            values.set(pcr, Replay::start_value(bank, pcr));
        }
        let logged = self.events.iter().map(|event| (event.pcr, &event.measured));
        for (pcr, measured) in logged.chain(self.later.iter().map(|(pcr, measured)| (*pcr, measured))) {
            let pcr = PcrIndex::new(pcr).unwrap();
            let value: Digest = *values.get(pcr).unwrap();
            values.set(pcr, value.extended(bank, bank.digest(&[measured]).as_bytes()));
        }
        values
    }
}
