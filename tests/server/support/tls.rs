//! Certificates made for a test, and a tunnel: what a client says in the clear on this machine goes to the broker over TLS, or
//! through a socket that the client does not know.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::broker::{Broker, Scratch, leveret};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: String,
}

/// A certificate with its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Another one that this one has signed.
    pub(crate) fn authorise(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// For this name as the common one, and for this machine.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        self.sign(name, CertificateParams::new(names).expect("names"))
    }

    pub(crate) fn issue_with_mail(&self, name: &str, mail: &str) -> Identity {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.subject_alt_names.push(SanType::Rfc822Name(mail.try_into().expect("ASCII")));
        self.sign(name, params)
    }

    /// Without any alternative name.
    pub(crate) fn issue_unnamed(&self, name: &str) -> Identity {
        self.sign(name, CertificateParams::default())
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Identity {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "leveret");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// The lines that make a broker show this certificate, whose files are in a test's folder.
pub(crate) fn server_lines(scratch: &Scratch, authority: &Authority, identity: &Identity) -> String {
    let file = |name: &str, text: &str| scratch.file(name, text).display().to_string();
    let certificate = file("server.pem", &identity.certificate);
    let key = file("server.key", &identity.key);
    let authority = file("ca.pem", &authority.certificate);
    format!("ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\nssl_options.cacertfile = {authority}\n")
}

/// A broker that serves over TLS with a certificate of this authority, and more lines in its file.
pub(crate) fn broker(authority: &Authority, more: &str) -> Broker {
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, authority, &authority.issue("server"));
    let config = scratch.file("leveret.conf", &format!("{lines}{more}"));
    let mut command = leveret();
    command.args(["--amqps", "127.0.0.1:0", "--config"]).arg(config);
    Broker::launch(command, scratch)
}

/// What a client needs to trust an authority in PEM, and to say who it is.
pub(crate) struct Trust<'a> {
    pub(crate) authority: &'a str,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
}

impl<'a> Trust<'a> {
    pub(crate) fn in_authority(authority: &'a str) -> Self {
        Self { authority, identity: None, versions: rustls::DEFAULT_VERSIONS }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(self.versions).expect("versions");
        let builder = builder.with_root_certificates(roots);
        match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a client's certificate")
            }
        }
    }
}

/// Connects to a server that calls itself localhost.
pub(crate) async fn handshake(to: SocketAddr, before: &[u8], config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    socket.write_all(before).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), socket).await
}

/// Where a tunnel leads.
#[derive(Clone)]
enum To {
    /// With these bytes before TLS.
    Tls(SocketAddr, Vec<u8>, Box<ClientConfig>),
    Unix(PathBuf),
}

/// A place on this machine that leads to a broker by another way, for as long as this lives.
pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    _ends: oneshot::Sender<()>,
}

impl Tunnel {
    pub(crate) fn over_tls(to: SocketAddr, trust: &Trust<'_>) -> Self {
        Self::open(To::Tls(to, Vec::new(), Box::new(trust.config())))
    }

    /// With these bytes before TLS.
    pub(crate) fn introduced(to: SocketAddr, before: &[u8], trust: &Trust<'_>) -> Self {
        Self::open(To::Tls(to, before.to_vec(), Box::new(trust.config())))
    }

    pub(crate) fn over_unix(path: PathBuf) -> Self {
        Self::open(To::Unix(path))
    }

    fn open(to: To) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let (ends, ended) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let served = async {
                    while let Ok((client, _)) = listener.accept().await {
                        client.set_nodelay(true).expect("no delay");
                        tokio::spawn(pass(client, to.clone()));
                    }
                };
                tokio::select! {
                    () = served => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, _ends: ends }
    }
}

/// Whatever goes wrong ends the connection, which the client sees.
async fn pass(client: TcpStream, to: To) {
    match to {
        To::Tls(to, before, config) => {
            if let Ok(server) = handshake(to, &before, *config).await {
                both_ways(client, server).await;
            }
        }
        To::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                both_ways(client, server).await;
            }
        }
    }
}

async fn both_ways(mut client: TcpStream, mut server: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
