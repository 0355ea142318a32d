//! The lab: a directory with the vendors behind guests (`DIR/roots/KIND/…`) and the guests (`DIR/guests/NAME`). Vendors are
//! opened once and shared; several processes may use one directory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::amd::Amd;
use super::files::keep_first;
use super::nitro::Hypervisor;
use super::place::{Guest, GuestSpec};
use super::tdx::Intel;
use super::vtpm::VtpmAuthority;
use super::vtpm::azure::Hardware;
use crate::error::{SimError, file};

/// A directory of guests and of the vendors behind them.
#[derive(Clone)]
pub struct Lab {
    directory: PathBuf,
    vendors: Arc<Mutex<Vendors>>,
}

#[derive(Default)]
struct Vendors {
    amd: HashMap<String, Arc<Amd>>,
    intel: Option<Arc<Intel>>,
    hypervisor: Option<Arc<Hypervisor>>,
    azure: Option<Arc<VtpmAuthority>>,
    gcp: Option<Arc<VtpmAuthority>>,
}

impl Lab {
    /// The lab in `directory`.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), vendors: Arc::default() }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The simulated AMD for `product`.
    ///
    /// # Errors
    /// See [`Amd::open`].
    pub fn amd(&self, product: &str) -> Result<Arc<Amd>, SimError> {
        self.vendor(
            |vendors| vendors.amd.get(product).cloned(),
            |lab, vendors| {
                let amd = Arc::new(Amd::open(&lab.roots("snp"), product)?);
                vendors.amd.insert(product.to_owned(), Arc::clone(&amd));
                Ok(amd)
            },
        )
    }

    /// The simulated Intel.
    ///
    /// # Errors
    /// See [`Intel::open`].
    pub fn intel(&self) -> Result<Arc<Intel>, SimError> {
        self.vendor(
            |vendors| vendors.intel.clone(),
            |lab, vendors| {
                let intel = Arc::new(Intel::open(&lab.roots("tdx"))?);
                vendors.intel = Some(Arc::clone(&intel));
                Ok(intel)
            },
        )
    }

    /// The simulated Nitro hypervisor.
    ///
    /// # Errors
    /// See [`Hypervisor::open`].
    pub fn hypervisor(&self) -> Result<Arc<Hypervisor>, SimError> {
        self.vendor(
            |vendors| vendors.hypervisor.clone(),
            |lab, vendors| {
                let hypervisor = Arc::new(Hypervisor::open(&lab.roots("nitro"))?);
                vendors.hypervisor = Some(Arc::clone(&hypervisor));
                Ok(hypervisor)
            },
        )
    }

    /// The authority above attestation keys of the simulated Azure.
    ///
    /// # Errors
    /// See [`VtpmAuthority::open`].
    pub fn azure(&self) -> Result<Arc<VtpmAuthority>, SimError> {
        self.vendor(
            |vendors| vendors.azure.clone(),
            |lab, vendors| {
                let authority = Arc::new(VtpmAuthority::open(&lab.roots("azure"), "Azure vTPM")?);
                vendors.azure = Some(Arc::clone(&authority));
                Ok(authority)
            },
        )
    }

    /// The authority above attestation keys of the simulated Google Cloud.
    ///
    /// # Errors
    /// See [`VtpmAuthority::open`].
    pub fn gcp(&self) -> Result<Arc<VtpmAuthority>, SimError> {
        self.vendor(
            |vendors| vendors.gcp.clone(),
            |lab, vendors| {
                let authority = Arc::new(VtpmAuthority::open(&lab.roots("gcp"), "GCE EK/AK")?);
                vendors.gcp = Some(Arc::clone(&authority));
                Ok(authority)
            },
        )
    }

    /// The certificates that an operator imports for this guest, PEM files: the root, and what stands between it and what
    /// the guest brings along.
    ///
    /// # Errors
    /// [`SimError`] if a vendor cannot be opened.
    pub fn roots_of(&self, spec: &GuestSpec) -> Result<Vec<PathBuf>, SimError> {
        Ok(match spec {
            GuestSpec::Snp(spec) => vec![self.amd(&spec.product)?.root_path()],
            GuestSpec::Tdx(_) => vec![self.intel()?.root_path()],
            GuestSpec::Nitro(_) | GuestSpec::NitroTpm(_) => vec![self.hypervisor()?.root_path()],
            GuestSpec::Azure(spec) => {
                let hardware = match spec.hardware {
                    Hardware::Snp => Some(self.amd(&spec.snp.product)?.root_path()),
                    Hardware::Tdx => Some(self.intel()?.root_path()),
                    Hardware::None => None,
                };
                let authority = self.azure()?;
                hardware.into_iter().chain([authority.root_path(), authority.intermediate_path()]).collect()
            }
            GuestSpec::Gcp(_) => {
                let authority = self.gcp()?;
                vec![authority.root_path(), authority.intermediate_path()]
            }
        })
    }

    /// Launches a guest: a new one, even if one of that name was there before.
    ///
    /// # Errors
    /// [`SimError`] if it cannot be kept.
    pub fn launch(&self, name: &str, spec: &GuestSpec) -> Result<Guest, SimError> {
        let directory = self.directory.join("guests").join(name);
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        let guest = Guest::at(&directory);
        guest.launched(spec)?;
        Ok(guest)
    }

    /// Every guest of the lab, by name.
    ///
    /// # Errors
    /// [`SimError::File`] if the directory cannot be read; there may be none yet.
    pub fn guests(&self) -> Result<Vec<Guest>, SimError> {
        let directory = self.directory.join("guests");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(file("read", &directory))?,
        };
        let mut guests: Vec<Guest> = entries.flatten().map(|entry| Guest::at(&entry.path())).collect();
        guests.sort_by(|one, other| one.directory().cmp(other.directory()));
        Ok(guests)
    }

    /// What is kept in the lab under that name, made the first time.
    pub(super) fn kept(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, SimError>,
    ) -> Result<Vec<u8>, SimError> {
        let path = self.directory.join(name);
        match fs::read(&path) {
            Ok(kept) => Ok(kept),
            Err(_) => keep_first(&path, &make()?),
        }
    }

    fn roots(&self, kind: &str) -> PathBuf {
        self.directory.join("roots").join(kind)
    }

    /// What is open already, or opened now while no other process does.
    fn vendor<T>(
        &self,
        known: impl FnOnce(&Vendors) -> Option<Arc<T>>,
        open: impl FnOnce(&Self, &mut Vendors) -> Result<Arc<T>, SimError>,
    ) -> Result<Arc<T>, SimError> {
        let mut vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known(&vendors) {
            return Ok(known);
        }
        let roots = self.directory.join("roots");
        fs::create_dir_all(&roots).map_err(file("create", &roots))?;
        let path = roots.join("lock");
        let lock = File::create(&path).map_err(file("create", &path))?;
        lock.lock().map_err(file("lock", &path))?;
        open(self, &mut vendors)
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("directory", &self.directory).finish_non_exhaustive()
    }
}
