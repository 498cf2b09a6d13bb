//! The RTMP servers' settings.

use std::sync::Arc;

use wasmtx_endpoints::{hooks::OnConnect, rtmp::Config, tls::Identity};

use crate::config::Global;

/// What the RTMP servers take; `identity` is there when `rtmpEncryption` asks for TLS.
pub(crate) fn rtmp(
    global: &Global,
    identity: Option<&Arc<Identity>>,
    on_connect: &OnConnect,
) -> anyhow::Result<Config> {
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
