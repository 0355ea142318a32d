//! A guest's software, as far as these tests need it: TPM commands over the simulator's port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use holdfast_tpm_sim::guest::vtpm::RunningVtpm;
use holdfast_tpm_sim::guest::{Guest, GuestSpec};

use crate::lab;

pub(crate) const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000b;

/// A guest whose machine runs; it lives as long as the lab, its machine as long as this.
pub(crate) struct Running {
    pub(crate) guest: Guest,
    pub(crate) vtpm: RunningVtpm,
}

impl Running {
    /// Launches it under that name, which no other test may use.
    pub(crate) fn launch(name: &str, spec: &GuestSpec) -> Self {
        // what an earlier run left behind is another guest's
        let _ = std::fs::remove_dir_all(lab().directory().join("guests").join(name));
        let guest = lab().launch(name, spec).unwrap();
        let vtpm = RunningVtpm::start(lab(), &guest).unwrap();
        Self { guest, vtpm }
    }

    pub(crate) fn tpm(&self) -> Tpm {
        let port = self.vtpm.report().unwrap().running.unwrap().port;
        Tpm(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    pub(crate) fn firmware_log(&self) -> Vec<u8> {
        std::fs::read(self.vtpm.report().unwrap().firmware_log).unwrap()
    }
}

pub(crate) struct Tpm(TcpStream);

/// A response's parameters, or its code.
pub(crate) type Outcome = Result<Vec<u8>, u32>;

impl Tpm {
    /// Sends a command; with a password where it needs one.
    pub(crate) fn send(&mut self, code: u32, handles: &[u32], password: Option<&[u8]>, parameters: &[u8]) -> Outcome {
        let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
        if let Some(password) = password {
            body.extend(u32::try_from(9 + password.len()).unwrap().to_be_bytes());
            body.extend(0x4000_0009_u32.to_be_bytes());
            body.extend([0, 0, 1]);
            body.extend(sized(password));
        }
        body.extend(parameters);
        let mut command = if password.is_some() { vec![0x80, 0x02] } else { vec![0x80, 0x01] };
        command.extend(u32::try_from(10 + body.len()).unwrap().to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend(body);
        loop {
            match self.transmit(&command) {
                // the first use of a password after start-up makes the TPM write down that there was one
                Err(0x922) => {}
                outcome => return outcome,
            }
        }
    }

    fn transmit(&mut self, command: &[u8]) -> Outcome {
        self.0.write_all(command).unwrap();
        let mut header = [0; 10];
        self.0.read_exact(&mut header).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize - 10];
        self.0.read_exact(&mut rest).unwrap();
        match u32::from_be_bytes(header[6..].try_into().unwrap()) {
            0 => Ok(rest),
            code => Err(code),
        }
    }

    pub(crate) fn handles(&mut self, first: u32) -> Vec<u32> {
        let parameters: Vec<u8> = [1, first, 254].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        let answer = self.send(0x17a, &[], None, &parameters).unwrap();
        answer[9..].chunks_exact(4).map(|handle| u32::from_be_bytes(handle.try_into().unwrap())).collect()
    }

    /// Size of an index, by its public area.
    pub(crate) fn nv_size(&mut self, index: u32) -> usize {
        let answer = self.send(0x169, &[index], None, &[]).unwrap();
        let length = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        usize::from(u16::from_be_bytes([answer[length], answer[length + 1]]))
    }

    /// An index, whole, read by its own password.
    pub(crate) fn nv_read(&mut self, index: u32, password: &[u8], size: usize) -> Result<Vec<u8>, u32> {
        let mut contents = Vec::new();
        while contents.len() < size {
            let piece = u16::try_from(1024.min(size - contents.len())).unwrap();
            let offset = u16::try_from(contents.len()).unwrap();
            let parameters = [piece.to_be_bytes(), offset.to_be_bytes()].concat();
            let answer = self.send(0x14e, &[index, index], Some(password), &parameters)?;
            let length = usize::from(u16::from_be_bytes([answer[4], answer[5]]));
            contents.extend_from_slice(&answer[6..6 + length]);
        }
        Ok(contents)
    }

    pub(crate) fn provided(&mut self, index: u32) -> Vec<u8> {
        let size = self.nv_size(index);
        self.nv_read(index, &[], size).unwrap()
    }

    /// TPMT_PUBLIC of a key.
    pub(crate) fn public(&mut self, handle: u32) -> Vec<u8> {
        let answer = self.send(0x173, &[handle], None, &[]).unwrap();
        unframed(&answer).0.to_vec()
    }

    /// A primary of the endorsement hierarchy: handle and TPMT_PUBLIC.
    pub(crate) fn primary(&mut self, template: &[u8]) -> (u32, Vec<u8>) {
        let parameters = [&sized(&[0; 4])[..], &sized(template), &sized(&[]), &[0; 4]].concat();
        let answer = self.send(0x131, &[ENDORSEMENT], Some(&[]), &parameters).unwrap();
        let handle = u32::from_be_bytes(answer[..4].try_into().unwrap());
        (handle, unframed(&answer[8..]).0.to_vec())
    }

    pub(crate) fn flush(&mut self, handle: u32) {
        self.send(0x165, &[], None, &handle.to_be_bytes()).unwrap();
    }

    /// TPMS_ATTEST and TPMT_SIGNATURE of a quote; `selection` is a TPML_PCR_SELECTION.
    pub(crate) fn quote(&mut self, key: u32, extra_data: &[u8], selection: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let parameters = [&sized(extra_data)[..], &[0, 0x10], selection].concat();
        let answer = self.send(0x158, &[key], Some(&[]), &parameters).unwrap();
        let length = u32::from_be_bytes(answer[..4].try_into().unwrap()) as usize;
        let (attest, signature) = unframed(&answer[4..4 + length]);
        (attest.to_vec(), signature.to_vec())
    }
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The contents of a sized buffer, and what follows.
pub(crate) fn unframed(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[2..].split_at(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}
