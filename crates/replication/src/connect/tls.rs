//! TLS with libpq's meanings of `sslmode`, by rustls and aws-lc-rs.
//!
//! Which certificates are accepted follows `initialize_SSL` in libpq's `fe-secure-openssl.c`: as
//! soon as there is a root certificate file, whatever the mode, the server's certificate must be
//! signed by it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::Certificate;
use crate::conninfo::{
    Host, HostAddress, RootCert, SslCertMode, SslMode, SslNegotiation, TlsSettings,
};
use crate::{Error, ErrorKind};

/// The protocol's name in ALPN; required when TLS starts without asking.
const ALPN: &[u8] = b"postgresql";

pub(super) struct Tls {
    config: Arc<ClientConfig>,
    verify_name: bool,
    direct: bool,
}

/// A TLS stream and the data that SCRAM binds to it, when there is any.
pub(super) struct Established {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) end_point: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files that the settings name.
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Roots::load(settings)?;
        let verify = match settings.mode {
            _ if roots.is_none() => Verify::Nothing,
            SslMode::VerifyFull => Verify::ChainAndName,
            _ => Verify::Chain,
        };
        let verifier = Verifier {
            verify,
            roots: roots.unwrap_or_else(Roots::empty),
            provider: provider.clone(),
        };
        let versions: &[&rustls::SupportedProtocolVersion] =
            match (settings.require_tls13, settings.at_most_tls12) {
                (true, _) => &[&rustls::version::TLS13],
                (false, true) => &[&rustls::version::TLS12],
                (false, false) => &[&rustls::version::TLS13, &rustls::version::TLS12],
            };
        let tls_error = |error: rustls::Error| {
            Error::new(ErrorKind::Tls, format!("TLS can't be set up: {error}")).with_source(error)
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(tls_error)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match client_certificate(settings)? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(tls_error)?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = settings.sni;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            verify_name: verify == Verify::ChainAndName,
            direct: settings.negotiation == SslNegotiation::Direct,
        })
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &Host,
    ) -> Result<Established, Error> {
        let name = self.server_name(host, &stream)?;
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(name, stream).await.map_err(|error| {
            Error::new(ErrorKind::Tls, format!("TLS with {host} failed: {error}"))
                .with_source(error)
        })?;
        let (_, session) = stream.get_ref();
        if self.direct && session.alpn_protocol() != Some(ALPN) {
            return Err(Error::new(
                ErrorKind::Tls,
                format!("{host}: direct TLS was established without the ALPN protocol postgresql"),
            )
            .with_remedy("use sslnegotiation=postgres"));
        }
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let end_point = certificate
            .and_then(|der| Certificate::parse(der))
            .and_then(|certificate| certificate.end_point_digest());
        Ok(Established { stream, end_point })
    }

    fn server_name(&self, host: &Host, stream: &TcpStream) -> Result<ServerName<'static>, Error> {
        let given = match (&host.name, &host.address) {
            (Some(name), _) | (None, HostAddress::Name(name)) => Some(name.clone()),
            _ => None,
        };
        if self.verify_name && given.is_none() {
            return Err(Error::config("host name must be specified for a verified TLS connection")
                .with_remedy("set host= besides hostaddr="));
        }
        if let Some(name) = given {
            match ServerName::try_from(name.clone()) {
                Ok(name) => return Ok(name),
                Err(error) if self.verify_name => {
                    let message = format!("{name:?} is no name that a certificate can be for");
                    return Err(Error::new(ErrorKind::Tls, message).with_source(error));
                }
                // No name is verified, and one that can't be sent needs no SNI.
                Err(_) => {}
            }
        }
        let address = stream.peer_addr().map_err(|error| {
            Error::new(ErrorKind::Connect, format!("{host}: {error}")).with_source(error)
        })?;
        Ok(ServerName::IpAddress(address.ip().into()))
    }
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The file's certificates as they are: a server's own certificate may be among them.
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn empty() -> Self {
        Self { store: RootCertStore::empty(), certificates: Vec::new() }
    }

    fn load(settings: &TlsSettings) -> Result<Option<Self>, Error> {
        let must_verify = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
        let missing = |what: String| {
            Err(Error::new(ErrorKind::Tls, what).with_remedy(
                "provide the file, use the system's trusted roots with sslrootcert=system, or change \
                 sslmode to disable server certificate verification",
            ))
        };
        let mut roots = Self::empty();
        match &settings.root {
            RootCert::None if must_verify => {
                return missing(
                    "there is no home directory to find the root certificate in".into(),
                );
            }
            RootCert::None => return Ok(None),
            RootCert::System => {
                let native = rustls_native_certs::load_native_certs();
                roots.store.add_parsable_certificates(native.certs);
                if roots.store.is_empty() {
                    return missing("the system has no trusted root certificates".into());
                }
            }
            RootCert::File(file) if !file.exists() => {
                if must_verify {
                    return missing(format!(
                        "root certificate file {} does not exist",
                        file.display()
                    ));
                }
                return Ok(None);
            }
            RootCert::File(file) => {
                roots.certificates = read_certificates(file, "root certificate")?;
                let (added, _) =
                    roots.store.add_parsable_certificates(roots.certificates.iter().cloned());
                if added == 0 {
                    return missing(format!("{} has no usable root certificate", file.display()));
                }
                if let Some(list) = settings.default_crl.as_ref().filter(|list| list.exists()) {
                    return Err(Error::new(
                        ErrorKind::Tls,
                        format!(
                            "{}: certificate revocation lists are not supported",
                            list.display()
                        ),
                    )
                    .with_remedy("remove it, if revocation is not to be checked"));
                }
            }
        }
        Ok(Some(roots))
    }
}

fn read_certificates(file: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect()).map_err(
        |error| {
            let message = format!("could not read {what} file {}: {error}", file.display());
            Error::new(ErrorKind::Tls, message).with_source(error)
        },
    )
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client's certificate and key, when the certificate's file is there; as in libpq, its
/// absence is no error, even when it was named.
fn client_certificate(settings: &TlsSettings) -> Result<Option<ClientCertificate>, Error> {
    if settings.cert_mode == SslCertMode::Disable {
        return Ok(None);
    }
    let Some(file) = settings.cert.as_ref().filter(|file| file.exists()) else {
        return Ok(None);
    };
    let chain = read_certificates(file, "client certificate")?;
    let failed = |message: String| Err(Error::new(ErrorKind::Tls, message));
    let Some(key) = &settings.key else {
        return failed(format!("client certificate {} has no key: set sslkey=", file.display()));
    };
    let Ok(metadata) = std::fs::metadata(key) else {
        return failed(format!(
            "client certificate {} is there, but not its private key file {}",
            file.display(),
            key.display()
        ));
    };
    // As for the server's own key: root's may be readable by a group, anybody else's by no one.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if !metadata.is_file() {
        return failed(format!("private key file {} is not a regular file", key.display()));
    }
    if metadata.permissions().mode() & forbidden != 0 {
        return Err(Error::new(
            ErrorKind::Tls,
            format!("private key file {} has group or world access", key.display()),
        )
        .with_remedy("chmod 0600, or 0640 when root owns it"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let message = format!(
            "could not read private key file {}: {error}; keys with a passphrase are not supported",
            key.display()
        );
        Error::new(ErrorKind::Tls, message).with_source(error)
    })?;
    Ok(Some((chain, key)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Chain,
    ChainAndName,
}

#[derive(Debug)]
struct Verifier {
    verify: Verify,
    roots: Roots,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verify == Verify::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let own = Certificate::parse(end_entity);
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // The manual's quick start is a self-signed certificate that is its own root. webpki
        // rejects such a one as an end entity; being in the file is all the trust that there is.
        if self.roots.certificates.iter().any(|root| root == end_entity) {
            if !own.as_ref().is_some_and(|own| own.is_valid_at(now.as_secs())) {
                return Err(CertificateError::Expired.into());
            }
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &self.roots.store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.verify == Verify::ChainAndName {
            verify_server_name(&parsed, server_name).or_else(|error| {
                let own_name =
                    own.is_some_and(|own| own.common_name_matches(&server_name.to_str()));
                if own_name { Ok(()) } else { Err(error) }
            })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
