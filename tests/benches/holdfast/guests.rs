//! Machines of every kind but a TPM's, made in this process: by the test PKI where nothing of it ends too soon, else by the
//! simulator's vendors.

use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::nitro::NitroItem;
use holdfast_evidence::nitrotpm::NitroTpmItem;
use holdfast_evidence::snp::SnpItem;
use holdfast_evidence::tdx::TdxItem;
use holdfast_evidence::tpm::{Bank, PcrSelection, PcrSet};
use holdfast_tpm_sim::guest::Lab;
use holdfast_tpm_sim::guest::nitro::{self, DocumentSpec, NitroSpec};
use holdfast_tpm_sim::guest::tdx::{Measured, TdxSpec};

use crate::appraise::boot_of;
use crate::azure::{self, Booted, machine::Machine};
use crate::gcp;
use crate::snp::{guest, keys_of_their_size};
use crate::stage::Asked;

/// One machine.
pub struct Guest {
    pub kind: EvidenceKind,
    /// SHA-256 of its attestation key, where it has one that a provider made.
    pub ak: Option<[u8; 32]>,
    /// SHA-256 of its log, where it sends one.
    pub log: Option<[u8; 32]>,
    pub answer: Answering,
}

/// What makes its evidence.
type Answering = Box<dyn FnMut(&Asked) -> anyhow::Result<Vec<u8>> + Send>;

/// Machines of one kind, and what a server is told of them.
pub struct Site {
    pub guests: Vec<Guest>,
    pub policy: String,
    /// DER.
    pub roots: Vec<Vec<u8>>,
    pub collateral: Option<Vec<u8>>,
    /// Facts that make them ours.
    pub ours: Vec<String>,
}

impl Guest {
    fn reporting(kind: EvidenceKind, answer: impl FnMut(&Asked) -> anyhow::Result<Vec<u8>> + Send + 'static) -> Self {
        Self { kind, ak: None, log: None, answer: Box::new(answer) }
    }

    /// Has the hypervisor certify it before anything is measured, as it has when an agent first asks.
    fn has_its_chain(&mut self) -> anyhow::Result<()> {
        let asked = Asked { nonce: [0; 32], binding: Vec::new(), selection: self.nothing() };
        (self.answer)(&asked).map(drop)
    }

    /// The selection of a machine that quotes none.
    pub const fn nothing(&self) -> PcrSelection {
        PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE }
    }
}

/// A policy for machines of that kind under a simulated root.
fn policy(kind: &str, name: &str, require: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"bench\"\n[issue]\n\
         node_id = \"/holdfast/node/{kind}/{{{name}}}\"\nselectors = [\"{kind}.class\"]\n[[rule]]\nname = \"guests\"\n\
         evidence = [\"{kind}\"]\nownership = \"inventory\"\ntrust_classes = [\"simulated\"]\n[rule.require]\n{require}\n"
    )
}

/// 64 bytes, zeros behind the binding.
fn padded(binding: &[u8]) -> [u8; 64] {
    let mut all = [0; 64];
    all[..binding.len()].copy_from_slice(binding);
    all
}

/// Guests of one chip, whose key's certificate and its issuer's come along.
pub fn snp(count: usize) -> anyhow::Result<Site> {
    keys_of_their_size()?;
    let one = guest::Guest::milan();
    let table = Arc::new(guest::table(&one.certificates()));
    let ark = one.endorsements().roots.anchors().iter().map(|root| root.der().to_vec()).collect();
    let guests = (0..count).map(|number| {
        let (mut guest, table) = (one.clone(), Arc::clone(&table));
        guest.put(0x140, &sha256(&[&number.to_be_bytes()]));
        Guest::reporting(EvidenceKind::Snp, move |asked| {
            guest.put(0x50, &padded(&asked.binding));
            Ok(SnpItem { report: &guest.report_bytes(), certificates: &table }.encode())
        })
    });
    Ok(Site {
        guests: guests.collect(),
        policy: policy("snp", "snp.report_id", "snp.vmpl = 0\nsnp.tcb.reported.snp = { at_least = 24 }"),
        roots: ark,
        collateral: None,
        ours: vec![format!("snp.chip_id={}", hex::encode(guest::chip_id(holdfast_evidence::snp::Product::Milan)))],
    })
}

/// TDs of one platform, with collateral that was imported.
pub fn tdx(count: usize) -> anyhow::Result<Site> {
    let directory = tempfile::tempdir()?;
    let intel = Lab::open(directory.path()).intel()?;
    let spec = TdxSpec::default();
    let log = Measured::of(&spec)?.log.unwrap_or_default();
    let (digest, log, directory) = (sha256(&[&log]), Arc::new(log), Arc::new(directory));
    let (roots, collateral) = (vec![intel.root().to_vec()], intel.documents(&spec)?.to_json().to_string().into_bytes());
    let (policy, ours) = (
        policy("tdx", "tdx.instance", "tdx.tcb.status = \"UpToDate\"\ntdx.service_td = false"),
        vec![format!("tdx.piid={}", spec.platform.instance_id)],
    );
    let guests = (0..count).map(|_| {
        let (intel, spec, log, kept) = (Arc::clone(&intel), spec.clone(), Arc::clone(&log), Arc::clone(&directory));
        let guest = Guest::reporting(EvidenceKind::Tdx, move |asked| {
            let quote = intel.quote(&spec, &padded(&asked.binding))?;
            anyhow::ensure!(kept.path().exists(), "the platform's key is kept there");
            Ok(TdxItem { quote: &quote, ccel: Some(&log) }.encode())
        });
        Guest { log: Some(digest), ..guest }
    });
    Ok(Site { guests: guests.collect(), policy, roots, collateral: Some(collateral), ours })
}

/// Enclaves of one instance.
pub fn nitro(count: usize) -> anyhow::Result<Site> {
    let directory = tempfile::tempdir()?;
    let hypervisor = Lab::open(directory.path()).hypervisor()?;
    let mut spec = NitroSpec::default();
    let guests = (0..count).map(|_| {
        spec.relaunch();
        let (spec, hypervisor) = (spec.clone(), Arc::clone(&hypervisor));
        let mut guest = Guest::reporting(EvidenceKind::Nitro, move |asked| {
            let document = nitro::enclave_document(&spec, &hypervisor, &signed_along(asked))?;
            Ok(NitroItem { document: &document }.encode())
        });
        guest.has_its_chain().map(|()| guest)
    });
    let guests = guests.collect::<anyhow::Result<_>>()?;
    let image = spec.pcrs.get(&0).cloned().unwrap_or_default();
    Ok(Site {
        guests,
        policy: policy("nitro", "nitro.module_id", &format!("nitro.pcr.0 = \"{image}\"")),
        roots: vec![hypervisor.root().to_vec()],
        collateral: None,
        ours: vec![format!("nitro.instance_id={}", spec.instance_id)],
    })
}

/// Instances with a NitroTPM.
pub fn nitrotpm(count: usize) -> anyhow::Result<Site> {
    let directory = tempfile::tempdir()?;
    let hypervisor = Lab::open(directory.path()).hypervisor()?;
    let instances: Vec<String> = (0..count).map(|_| NitroSpec::default().instance_id).collect();
    let guests = instances.iter().map(|instance| {
        let (hypervisor, instance_id) = (Arc::clone(&hypervisor), instance.clone());
        let module_id = format!("{instance}-tpm{}", "0".repeat(16));
        let mut guest = Guest::reporting(EvidenceKind::NitroTpm, move |asked| {
            let pcrs = (0..24).map(|number| (number, vec![0x20 + number; 48])).collect();
            let (module_id, instance_id, region) = (&module_id, &instance_id, "us-east-1");
            let measured = nitro::Measured { module_id, instance_id, region, pcrs_key: "nitrotpm_pcrs", pcrs };
            let document = nitro::document(&measured, &DocumentSpec::default(), &hypervisor, &signed_along(asked))?;
            Ok(NitroTpmItem { document: &document }.encode())
        });
        guest.has_its_chain().map(|()| guest)
    });
    let guests = guests.collect::<anyhow::Result<_>>()?;
    let require = format!("nitrotpm.pcr.4 = \"{}\"", "24".repeat(48));
    Ok(Site {
        guests,
        policy: policy("nitrotpm", "nitrotpm.instance_id", &require),
        roots: vec![hypervisor.root().to_vec()],
        collateral: None,
        ours: instances.iter().map(|instance| format!("nitrotpm.instance_id={instance}")).collect(),
    })
}

fn signed_along(asked: &Asked) -> nitro::Asked {
    nitro::Asked { nonce: Some(asked.nonce.to_vec()), user_data: Some(asked.binding.clone()), public_key: None }
}

/// Confidential machines under SEV-SNP, all with one attestation key, which RSA makes dear to generate.
pub fn azure(count: usize) -> anyhow::Result<Site> {
    keys_of_their_size()?;
    let (mut vouching, mut guests, mut ours, mut roots) = (None, Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let mut machine = Machine::snp();
        let id = format!("26f8bc30-774e-4290-8e7a-{number:012x}");
        machine.runtime_data = machine.runtime_data.replace("26F8BC30-774E-4290-8E7A-535F3B672AEE", &id.to_uppercase());
        ours.push(format!("azure.vm_unique_id={id}"));
        if roots.is_empty() {
            roots = machine.guest().endorsements().roots.anchors().iter().map(|root| root.der().to_vec()).collect();
        }
        let mut booted = Booted::new(machine, vouching.clone());
        vouching.get_or_insert_with(|| Arc::clone(booted.vouching()));
        let ak = Some(sha256(&[&booted.machine.ak.key().spki()]));
        let log = Some(sha256(&[booted.log()]));
        let answer = move |asked: &Asked| Ok(booted.answer(asked));
        guests.push(Guest { kind: EvidenceKind::Azure, ak, log, answer: Box::new(answer) });
    }
    Ok(Site { guests, policy: azure::policy(), roots, collateral: None, ours })
}

/// Instances of one project below one issuer.
pub fn gcp(count: usize) -> anyhow::Result<Site> {
    let first = gcp::instance();
    let (root, issuer) = (Arc::clone(&first.root), Arc::clone(&first.issuer));
    let guests = (0..count).map(|number| {
        let mut instance = gcp::instance();
        (instance.root, instance.issuer) = (Arc::clone(&root), Arc::clone(&issuer));
        // the instance's id, and the id that its name says
        let id = gcp::instance::CORE_ESO.replace("5a8c6235b897b185", &format!("5a8c6235{number:08x}"));
        instance.certify(|params| params.custom_extensions = vec![gcp::instance::named(&id)]);
        let ak = Some(sha256(&[&instance.ak.spki()]));
        let log = Some(sha256(&[&instance.firmware.log()]));
        let answer = move |asked: &Asked| {
            instance.quoted = asked.selection;
            Ok(instance.item(&asked.binding))
        };
        Guest { kind: EvidenceKind::Gcp, ak, log, answer: Box::new(answer) }
    });
    Ok(Site {
        guests: guests.collect(),
        policy: boot_of(gcp::POLICY),
        roots: vec![root.der.clone()],
        collateral: None,
        ours: vec!["gcp.project_number=995081019036".to_owned()],
    })
}
