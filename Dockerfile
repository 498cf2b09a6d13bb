# docker build -t wasmtx . && docker run --rm --network host wasmtx
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN make build

FROM debian:12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libavcodec59 libavutil57 libswresample4 libswscale6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/wasmtx --create-home wasmtx
COPY --from=build /src/target/release/wasmtx /src/target/release/wasmtx-codec /usr/local/bin/
COPY mediamtx.yml /etc/wasmtx/mediamtx.yml
USER wasmtx
# State and relative paths of the configuration live here.
WORKDIR /var/lib/wasmtx
# RTSP, RTSPS, RTP and RTCP over UDP, RTMP, FLV, playback, metrics, API.
EXPOSE 8554 8322 8000/udp 8001/udp 1935 8888 9996 9998 9997
ENTRYPOINT ["wasmtx"]
CMD ["/etc/wasmtx/mediamtx.yml"]
