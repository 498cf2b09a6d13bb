use wasmtx_media::Codec;

use crate::api::testing::{Answer, Window};

fn lines(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.lines().collect()
}

/// The values of the rows of a series.
fn values<'a>(answer: &'a Answer, row: &str) -> Vec<&'a str> {
    lines(answer)
        .into_iter()
        .filter_map(|line| line.strip_prefix(row)?.strip_prefix(' '))
        .collect()
}

#[tokio::test]
async fn without_objects_every_series_has_one_row_of_zero() {
    let window = Window::open("").await;
    let answer = window.scrape("?type=paths").await;
    let expected = [
        "# Paths",
        "paths 0",
        "paths_inbound_bytes 0",
        "paths_outbound_bytes 0",
        "paths_inbound_frames_in_error 0",
        "",
        "# Paths (deprecated)",
        "paths_bytes_received 0",
        "paths_bytes_sent 0",
        "paths_readers 0",
        "",
    ];
    assert_eq!(lines(&answer), expected);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let expected = [
        "# Forward destinations",
        "forward_dests 0",
        "forward_dests_outbound_bytes 0",
        "",
    ];
    assert_eq!(lines(&window.scrape("?type=forward_dests").await), expected);
    let expected = [
        "# RTSP connections",
        "rtsp_conns 0",
        "rtsp_conns_inbound_bytes 0",
        "rtsp_conns_outbound_bytes 0",
        "",
        "# RTSP connections (deprecated)",
        "rtsp_conns_bytes_received 0",
        "rtsp_conns_bytes_sent 0",
        "",
    ];
    assert_eq!(lines(&window.scrape("?type=rtsp_conns").await), expected);
    let expected = [
        "# RTMP connections",
        "rtmp_conns 0",
        "rtmp_conns_inbound_bytes 0",
        "rtmp_conns_outbound_bytes 0",
        "rtmp_conns_outbound_frames_discarded 0",
        "",
        "# RTMP connections (deprecated)",
        "rtmp_conns_bytes_received 0",
        "rtmp_conns_bytes_sent 0",
        "",
    ];
    assert_eq!(lines(&window.scrape("?type=rtmp_conns").await), expected);
    assert_eq!(window.scrape("?type=rtmps_conns").await.body, "", "it is off");
    let expected = [
        "# HTTP-FLV connections",
        "flv_conns 0",
        "flv_conns_inbound_bytes 0",
        "flv_conns_outbound_bytes 0",
        "flv_conns_outbound_frames_discarded 0",
        "",
    ];
    assert_eq!(lines(&window.scrape("?type=flv_conns").await), expected);
    let sessions = window.scrape("?type=rtsp_sessions").await;
    assert_eq!(lines(&sessions).iter().filter(|line| line.ends_with(" 0")).count(), 23);
}

#[tokio::test]
async fn a_path_has_rows_with_its_name_and_state() {
    let window = Window::open("paths: {idle: {}, all_others: {}}\n").await;
    let _publisher = window.publish("cam", vec![Codec::Vp8]);
    let expected = [
        "# Paths",
        "paths{name=\"cam\",state=\"ready\"} 1",
        "paths_readers{name=\"cam\",readerType=\"\",state=\"ready\"} 0",
        "paths_inbound_bytes{name=\"cam\",state=\"ready\"} 0",
        "paths_outbound_bytes{name=\"cam\",state=\"ready\"} 0",
        "paths_inbound_frames_in_error{name=\"cam\",state=\"ready\"} 0",
        "paths{name=\"idle\",state=\"notReady\"} 1",
        "paths_readers{name=\"idle\",readerType=\"\",state=\"notReady\"} 0",
        "paths_inbound_bytes{name=\"idle\",state=\"notReady\"} 0",
        "paths_outbound_bytes{name=\"idle\",state=\"notReady\"} 0",
        "paths_inbound_frames_in_error{name=\"idle\",state=\"notReady\"} 0",
        "",
        "# Paths (deprecated)",
        "paths_bytes_received{name=\"cam\",state=\"ready\"} 0",
        "paths_bytes_sent{name=\"cam\",state=\"ready\"} 0",
        "paths_bytes_received{name=\"idle\",state=\"notReady\"} 0",
        "paths_bytes_sent{name=\"idle\",state=\"notReady\"} 0",
        "",
    ];
    assert_eq!(lines(&window.scrape("?type=paths").await), expected);
    let one = window.scrape("?path=idle").await;
    assert!(
        lines(&one)
            .iter()
            .all(|line| line.starts_with('#') || line.is_empty() || line.contains("idle")),
        "{one:?}"
    );
}

#[tokio::test]
async fn a_session_has_its_labels_in_order_and_can_be_asked_for_alone() {
    let window = Window::open("").await;
    let client = window.publish_rtsp().await;
    let id = window.get("/v3/rtspsessions/list").await.json()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let remote = client.local_addr().unwrap();
    let labels = format!("{{id=\"{id}\",path=\"cam\",remoteAddr=\"{remote}\",state=\"publish\"}}");
    let all = window.scrape("").await;
    assert_eq!(values(&all, &format!("rtsp_sessions{labels}")), ["1"]);
    assert_eq!(
        values(&all, &format!("rtsp_sessions_outbound_rtp_packets_discarded{labels}")),
        ["0"]
    );
    assert_eq!(
        values(&all, &format!("rtsp_sessions_rtcp_packets_in_error{labels}")),
        ["0"]
    );
    assert_eq!(values(&all, "rtsp_conns"), [""; 0]);
    assert_eq!(all.body.matches("\nrtsp_conns{id=").count(), 1);
    assert!(
        !all.body.contains("rtsps_") && !all.body.contains("rtmps_"),
        "a server that is off has no rows"
    );

    let one = window.scrape(&format!("?rtsp_session={id}")).await;
    assert!(
        lines(&one)
            .iter()
            .all(|line| line.starts_with('#') || line.is_empty() || line.contains(&id)),
        "{one:?}"
    );
    assert_eq!(lines(&one).len(), 23 + 4);
    assert_eq!(window.scrape("?rtsps_session=x").await.body, "");
    assert_eq!(window.scrape("?type=rtsp_conns&path=cam").await.body, "");
}

#[tokio::test]
async fn our_own_series_follow_and_are_described() {
    let window = Window::open("").await;
    let _publisher = window.publish("cam", vec![Codec::Vp8]);
    window.get("/v3/info").await;
    let all = window.scrape("").await;
    assert_eq!(values(&all, "wasmtx_path_buffered_bytes{name=\"cam\"}"), ["0"]);
    assert_eq!(values(&all, "wasmtx_path_frames_discarded_total{name=\"cam\"}"), ["0"]);
    assert_eq!(values(&all, "wasmtx_process_start_time_seconds"), ["1732289613"]);
    assert_eq!(values(&all, "wasmtx_log_lines_dropped_total"), ["3"]);
    assert_eq!(values(&all, "wasmtx_auth_decisions_total{result=\"allowed\"}"), ["2"]);
    for line in lines(&all).into_iter().filter(|line| line.starts_with("wasmtx_")) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(all.body.contains(&format!("# TYPE {name} ")), "{line}");
    }
    assert!(!window.scrape("?type=paths").await.body.contains("wasmtx_"));
}

#[tokio::test]
async fn the_metrics_have_a_permission_of_their_own() {
    let users = "authInternalUsers: [{user: any, ips: [127.0.0.1], permissions: [{action: api}]}]\n";
    let window = Window::open(users).await;
    assert_eq!(window.get("/v3/info").await.status, 200);
    assert_eq!(window.scrape("").await.status, 401);
    assert_eq!(
        window.gate.decisions().find(|(word, _)| *word == "challenged"),
        Some(("challenged", 1))
    );
}
