//! The RTMP servers' settings.

use std::sync::Arc;

use wasmtx_endpoints::{
    hooks::OnConnect,
    rtmp::{Config, Registry, Server},
    tls::Identity,
};
use wasmtx_hub::Hub;

use super::rtsp::identity_of;
use crate::{
    access::Gate,
    config::{self, Global},
    server::Listener,
};

/// What the RTMP servers take; `identity` is there when `rtmpEncryption` asks for TLS.
fn rtmp(global: &Global, identity: Option<&Arc<Identity>>, on_connect: &OnConnect) -> anyhow::Result<Config> {
    let encrypted = match identity {
        Some(identity) if global.serves_rtmp(true) => {
            let acceptor = identity.server_config(&[])?.into();
            Some((global.rtmps_address.as_str().to_owned(), acceptor))
        }
        _ => None,
    };
    Ok(Config {
        address: global
            .serves_rtmp(false)
            .then(|| global.rtmp_address.as_str().to_owned()),
        encrypted,
        trusted_proxies: global.rtmp_trusted_proxies.clone(),
        on_connect: on_connect.clone(),
        read_timeout: global.read_timeout,
        write_timeout: global.write_timeout,
        connections: global.limits.connections_per_listener.try_into()?,
        connections_per_address: global.limits.connections_per_address.try_into()?,
        connections_before_login: global.limits.connections_per_address_before_login.try_into()?,
        tls_handshakes: global.limits.tls_handshakes.try_into()?,
        tls_deadline: global.limits.tls_handshake,
    })
}

/// Binds what the configuration switches on, and serves; what was bound, by its key.
///
/// # Errors
/// The address, the key or the certificate that cannot be had.
pub(crate) fn start_rtmp(
    config: &config::Config,
    hub: &Hub,
    gate: &Arc<Gate>,
    conns: &Registry,
    on_connect: &OnConnect,
) -> anyhow::Result<(Option<Server>, Vec<Listener>)> {
    let global = &config.global;
    if !global.rtmp {
        return Ok((None, Vec::new()));
    }
    let encrypts = global.rtmp_encryption.allows_tls();
    let identity = encrypts
        .then(|| identity_of(&global.rtmp_server_key, &global.rtmp_server_cert))
        .transpose()?;
    let settings = rtmp(global, identity.as_ref(), on_connect)?;
    let server = Server::start(settings, hub.clone(), gate.clone(), conns.clone())?;
    let bound = [
        ("rtmpAddress", server.address),
        ("rtmpsAddress", server.encrypted_address),
    ];
    let listeners = bound.into_iter().filter_map(|(key, address)| {
        Some(Listener {
            key,
            address: address?.to_string(),
        })
    });
    let listeners = listeners.collect();
    Ok((Some(server), listeners))
}
