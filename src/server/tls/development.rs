//! A certificate for development (`--tls auto`): an authority that signs one certificate for this machine and is then forgotten, so
//! that whoever trusts it trusts that one certificate.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::TlsError;
use super::x509;

/// What the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 3600);
const VALID: Duration = Duration::from_secs(365 * 24 * 3600);
/// A certificate that holds for less than this is made anew.
const WORTH_KEEPING: Duration = Duration::from_secs(30 * 24 * 3600);

/// The files of a directory.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// What clients are to trust.
    authority: PathBuf,
}

/// Where certificates for development are kept when there is no data directory: each user has a place.
pub(super) fn shared_directory() -> PathBuf {
    std::env::temp_dir().join(format!("leveret-tls-{}", rustix::process::geteuid().as_raw()))
}

/// The certificate of a directory, made if there is none that holds.
pub(super) fn certificate(directory: &Path) -> Result<Files, TlsError> {
    let failed = |error: io::Error| TlsError(format!("{}: {error}", directory.display()));
    own(directory).map_err(failed)?;
    let [certificate, key, authority] = ["server.pem", "server.key", "ca.pem"].map(|name| directory.join(name));
    let files = Files { certificate, key, authority };
    if !files.hold() {
        files.make().map_err(|error| TlsError(format!("cannot make a certificate for development: {error}")))?.map_err(failed)?;
        tracing::info!("made a certificate for development; clients are to trust {}", files.authority.display());
    }
    Ok(files)
}

/// Makes a directory that is ours alone. In a place that is everybody's, somebody else may have made it.
fn own(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(directory)?;
    let is = fs::symlink_metadata(directory)?;
    if is.is_dir() && is.uid() == rustix::process::geteuid().as_raw() && is.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a directory that only this user may write"))
    }
}

impl Files {
    /// Whether all is there, and valid for some time.
    fn hold(&self) -> bool {
        let until = || {
            let certificates = super::certificates(&self.certificate).ok()?;
            super::private_key(&self.key).ok()?;
            super::certificates(&self.authority).ok()?;
            Some(x509::Certificate::parse(certificates.first()?)?.not_after.unix_seconds())
        };
        let needed = (now() + WORTH_KEEPING).as_secs();
        until().and_then(|until| u64::try_from(until).ok()).is_some_and(|until| until > needed)
    }

    fn make(&self) -> Result<io::Result<()>, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.use_authority_key_identifier_extension = true;
        let server_key = KeyPair::generate()?;
        for (params, name) in [(&mut authority, "leveret development CA"), (&mut server, "localhost")] {
            params.distinguished_name.push(DnType::CommonName, name);
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            // Clocks differ.
            params.not_before = epoch + (now() - DAY);
            params.not_after = epoch + (now() + VALID);
        }
        let signed_by_itself = authority.self_signed(&authority_key)?;
        let signed = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?;
        Ok(self.write(&signed.pem(), &server_key.serialize_pem(), &signed_by_itself.pem()))
    }

    fn write(&self, certificate: &str, key: &str, authority: &str) -> io::Result<()> {
        for (path, text) in [(&self.key, key), (&self.certificate, certificate), (&self.authority, authority)] {
            let _ = fs::remove_file(path);
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
