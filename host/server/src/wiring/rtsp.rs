//! The RTSP servers' settings.

use std::{path::Path, sync::Arc};

use wasmtx_endpoints::{
    hooks::OnConnect,
    rtsp::{Algorithm, Config, Registry, Scheme, Server, Transports},
    tls::Identity,
};

use wasmtx_hub::Hub;

use crate::{
    access::Gate,
    config::{self, DigestAlgorithm, Global, RtspAuthMethod, RtspTransport},
    server::Listener,
};

/// What the RTSP servers take; `identity` is there when `rtspEncryption` asks for TLS.
fn rtsp(global: &Global, identity: Option<&Arc<Identity>>, on_connect: &OnConnect) -> anyhow::Result<Config> {
    let encrypted = match identity {
        Some(identity) if global.rtsp_encryption.allows_tls() => {
            let acceptor = identity.server_config(&[])?.into();
            Some((global.rtsps_address.as_str().to_owned(), acceptor))
        }
        _ => None,
    };
    let offers = |wanted| global.rtsp_transports.contains(&wanted);
    Ok(Config {
        address: global
            .rtsp_encryption
            .allows_plain()
            .then(|| global.rtsp_address.as_str().to_owned()),
        encrypted,
        transports: Transports {
            tcp: offers(RtspTransport::Tcp),
            udp: offers(RtspTransport::Udp),
        },
        rtp_address: global.rtp_address.as_str().to_owned(),
        rtcp_address: global.rtcp_address.as_str().to_owned(),
        auth: schemes(global),
        read_timeout: global.read_timeout,
        write_timeout: global.write_timeout,
        udp_max_payload: global.udp_max_payload_size.try_into()?,
        udp_read_buffer: global.udp_read_buffer_size.try_into()?,
        connections: global.limits.connections_per_listener.try_into()?,
        connections_per_address: global.limits.connections_per_address.try_into()?,
        connections_before_login: global.limits.connections_per_address_before_login.try_into()?,
        tls_handshakes: global.limits.tls_handshakes.try_into()?,
        tls_deadline: global.limits.tls_handshake,
        trusted_proxies: global.rtsp_trusted_proxies.clone(),
        on_connect: on_connect.clone(),
    })
}

/// What a client is asked for, in the configured order: the digests one after the other where `digest` stands.
fn schemes(global: &Global) -> Vec<Scheme> {
    let digests = global.rtsp_digest_algorithms.iter().map(|algorithm| match algorithm {
        DigestAlgorithm::Sha256 => Scheme::Digest(Algorithm::Sha256),
        DigestAlgorithm::Md5 => Scheme::Digest(Algorithm::Md5),
    });
    let digests: Vec<Scheme> = digests.collect();
    let schemes = global.rtsp_auth_methods.iter().flat_map(|method| match method {
        RtspAuthMethod::Basic => vec![Scheme::Basic],
        RtspAuthMethod::Digest => digests.clone(),
    });
    schemes.collect()
}

/// The key and certificate of a server; the message of a failure names both files.
pub(crate) fn identity_of(key: &Path, certificate: &Path) -> anyhow::Result<Arc<Identity>> {
    let identity = Identity::load(key, certificate)?;
    identity.spawn_refresh();
    Ok(identity)
}

/// Binds what the configuration switches on, and serves; what was bound, by its key.
///
/// # Errors
/// The address, the key or the certificate that cannot be had.
pub(crate) fn start_rtsp(
    config: &config::Config,
    hub: &Hub,
    gate: &Arc<Gate>,
    sessions: &Registry,
    on_connect: &OnConnect,
) -> anyhow::Result<(Option<Server>, Vec<Listener>)> {
    let global = &config.global;
    if !global.rtsp {
        return Ok((None, Vec::new()));
    }
    let encrypts = global.rtsp_encryption.allows_tls();
    let identity = encrypts
        .then(|| identity_of(&global.rtsp_server_key, &global.rtsp_server_cert))
        .transpose()?;
    let settings = rtsp(global, identity.as_ref(), on_connect)?;
    let server = Server::start(settings, hub.clone(), gate.clone(), sessions.clone())?;
    let datagrams = server
        .datagram_addresses
        .map(|[rtp, rtcp]| [("rtpAddress", rtp), ("rtcpAddress", rtcp)]);
    let streams = [
        ("rtspAddress", server.address),
        ("rtspsAddress", server.encrypted_address),
    ];
    let streams = streams.into_iter().filter_map(|(key, address)| Some((key, address?)));
    let bound = streams.chain(datagrams.into_iter().flatten());
    let listeners = bound
        .map(|(key, address)| Listener {
            key,
            address: address.to_string(),
        })
        .collect();
    Ok((Some(server), listeners))
}
