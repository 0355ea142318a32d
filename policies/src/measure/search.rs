//! A launch digest that is not the expected one says nothing of what differs. This looks for it: the same launch with one
//! input changed to another that is usual, and with every number of processors.

use holdfast_measurement::snp::{CpuSignature, Kernel, Launch, Vmm};

/// Processors that are tried.
const VCPUS_MAX: u32 = 512;
/// `SEV_FEATURES` that hosts set: SNP; with debug-register swapping; with restricted injection; with alternate
/// injection; with secure TSC.
const FEATURES: [u64; 6] = [0x1, 0x21, 0x9, 0x11, 0x201, 0x221];

/// What the guest was launched with instead, in words; `None` if none of what is tried fits.
pub(super) fn explanation(launch: &Launch<'_>, found: &[u8; 48]) -> Option<String> {
    changed(launch).into_iter().find_map(|(change, launch)| {
        let digests = launch.digests_by_vcpus(VCPUS_MAX).ok()?;
        let vcpus = 1 + u32::try_from(digests.iter().position(|digest| digest == found)?).ok()?;
        let count = (vcpus != launch.vcpus).then(|| format!("--vcpus {vcpus}"));
        let change: Vec<String> = change.into_iter().chain(count).collect();
        Some(format!("it is what is measured with {}", change.join(" and ")))
    })
}

/// Launches with at most one input changed.
fn changed<'a>(launch: &Launch<'a>) -> Vec<(Option<String>, Launch<'a>)> {
    let launch = *launch;
    let mut changed = vec![(None, launch)];
    let vmms = Vmm::ALL.into_iter().filter(|vmm| *vmm != launch.vmm);
    changed.extend(vmms.map(|vmm| (Some(format!("--vmm {}", vmm.as_str())), Launch { vmm, ..launch })));
    let features = FEATURES.into_iter().filter(|features| *features != launch.guest_features);
    changed.extend(features.map(|features| {
        (Some(format!("--guest-features {features:#x}")), Launch { guest_features: features, ..launch })
    }));
    let mut signatures = vec![launch.cpu];
    for (name, cpu) in CpuSignature::models() {
        if !signatures.contains(&cpu) {
            signatures.push(cpu);
            changed.push((Some(format!("--vcpu-type {name}")), Launch { cpu, ..launch }));
        }
    }
    if let Some(kernel) = launch.kernel {
        changed.push((Some("no kernel".to_owned()), Launch { kernel: None, ..launch }));
        let mut with = |change: &str, kernel: Kernel<'a>| {
            changed.push((Some(change.to_owned()), Launch { kernel: Some(kernel), ..launch }));
        };
        with("no initrd", Kernel { initrd: b"", ..kernel });
        with("an empty --append", Kernel { command_line: "", ..kernel });
        with(
            "an --append without spaces at its end",
            Kernel { command_line: kernel.command_line.trim_end(), ..kernel },
        );
    }
    changed
}
