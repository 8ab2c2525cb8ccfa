//! `amqp:` URIs, as RabbitMQ reads them, and what is not shown of them.

use leveret::client::uri::{ServerName, Uri};

fn read(text: &str) -> Uri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    text.parse::<Uri>().expect_err(text).to_string()
}

#[test]
fn everything_has_its_default() {
    let uri = read("amqp://host");
    assert_eq!((uri.host.as_deref(), uri.port, uri.vhost.as_str()), (Some("host"), 5672, "/"));
    assert_eq!((uri.user, uri.password, uri.tls), (None, None, None));
    assert_eq!((uri.channel_max, uri.frame_max, uri.heartbeat_s, uri.connection_timeout_ms), (None, None, None, 60_000));
    assert_eq!(uri.mechanisms, ["plain", "amqplain"]);
    assert_eq!((read("amqps://host").port, read("AMQP://host:1").port), (5671, 1));
}

#[test]
fn the_virtual_host_is_the_path() {
    for (text, vhost) in [
        ("amqp://host", "/"),
        ("amqp://host?heartbeat=3", "/"),
        ("amqp://host/", ""),
        ("amqp://host/?heartbeat=3", ""),
        ("amqp://host/%2f", "/"),
        ("amqp://host/a%2Fb", "a/b"),
        ("amqp://host/%C3%BC", "ü"),
        ("amqp://host/v#fragment", "v"),
        ("amqp:///v", "v"),
        ("amqp://", "/"),
    ] {
        assert_eq!(read(text).vhost, vhost, "{text}");
    }
    assert!(refused("amqp://host/a/b").contains("%2f"));
}

#[test]
fn user_and_password_are_decoded() {
    let uri = read("amqp://us%40er:pa%3Ass%2F@host");
    assert_eq!((uri.user.as_deref(), uri.password.as_deref()), (Some("us@er"), Some("pa:ss/")));
    let uri = read("amqp://user@host");
    assert_eq!((uri.user.as_deref(), uri.password.as_deref()), (Some("user"), None));
    let uri = read("amqp://user:@host");
    assert_eq!(uri.password.as_deref(), Some(""));
    assert_eq!(read("amqp://@host").user, None);
    let uri = read("amqp://:b:c@host");
    assert_eq!((uri.user.as_deref(), uri.password.as_deref()), (Some(""), Some("b")));
    // The node itself, as a user of its.
    let uri = read("amqp://user:password@/v");
    assert_eq!((uri.host, uri.user.as_deref(), uri.vhost.as_str()), (None, Some("user"), "v"));
}

#[test]
fn addresses() {
    let uri = read("amqp://[::1]:5673/v");
    assert_eq!((uri.host.as_deref(), uri.port), (Some("::1"), 5673));
    assert_eq!(read("amqp://[fe80::1]").host.as_deref(), Some("fe80::1"));
    assert_eq!(read("amqp://h%61st:1").host.as_deref(), Some("hast"));
}

#[test]
fn parameters() {
    let uri = read("amqp://h?heartbeat=5&channel_max=10&frame_max=8192&connection_timeout=30000&unknown=1&flag");
    assert_eq!((uri.heartbeat_s, uri.channel_max, uri.frame_max, uri.connection_timeout_ms), (Some(5), Some(10), Some(8192), 30_000));
    let uri = read("amqp://h?auth_mechanism=external&auth_mechanism=plain");
    assert_eq!(uri.mechanisms, ["external", "plain"]);
    let tls = "cacertfile=/a%20b/ca.pem&certfile=c&keyfile=k&verify=verify_peer&fail_if_no_peer_cert=true&password=s%65cret&depth=2";
    let uri = read(&format!("amqps://h/v?{tls}&server_name_indication=name&customize_hostname_check=https&heartbeat=0"));
    assert_eq!(uri.heartbeat_s, Some(0));
    let tls = uri.tls.expect("TLS");
    assert_eq!(tls.cacertfile.as_deref().and_then(|path| path.to_str()), Some("/a b/ca.pem"));
    assert_eq!((tls.verify_peer, tls.fail_if_no_peer_cert, tls.depth), (Some(true), Some(true), Some(2)));
    assert_eq!((tls.password.as_deref(), tls.hostname_check_https), (Some("secret"), true));
    assert_eq!(tls.server_name_indication, Some(ServerName::Named("name".to_owned())));
    let disabled = read("amqps://h?server_name_indication=disable&verify=verify_none").tls.expect("TLS");
    assert_eq!((disabled.server_name_indication, disabled.verify_peer), (Some(ServerName::Disabled), Some(false)));
    // Without TLS these say nothing, and a password is not the login's.
    let uri = read("amqp://h?password=x&verify=verify_peer");
    assert_eq!((uri.tls, uri.password), (None, None));
}

#[test]
fn what_is_wrong_is_refused() {
    for text in [
        "",
        "host",
        "http://host",
        "amqp://host:0",
        "amqp://host:65536",
        "amqp://host:",
        "amqp://host:x",
        "amqp://:5672",
        "amqps://",
        "amqp:host",
        "amqp:",
        "amqp:/v",
        "amqp://[::1",
        "amqp://[::1]5672",
        "amqp://host/%2",
        "amqp://host/%zz",
        "amqp://host/%+1",
        "amqp://host/%ff",
        "amqp://host?heartbeat=x",
        "amqp://host?heartbeat=-1",
        "amqp://host?heartbeat=%35",
        "amqp://host?channel_max=70000",
        "amqp://host?auth_mechanism=secret",
        "amqp://host?username=x",
        "amqps://host?verify=maybe",
        "amqps://host?fail_if_no_peer_cert=1",
        "amqps://host?depth=x",
        "amqps://host?customize_hostname_check=x",
    ] {
        assert!(!refused(text).is_empty());
    }
}

#[test]
fn nothing_secret_is_shown() {
    let uri = read("amqps://us%65r:swordfish@host:1/v%2f?password=swordfish&heartbeat=3");
    assert_eq!(uri.to_string(), "amqps://host:1/v%2f");
    for shown in [format!("{uri:?}"), uri.to_string(), format!("{:?}", uri.tls), format!("{:?}", uri.options().expect("options"))] {
        assert!(!shown.contains("swordfish") && !shown.contains("user"), "{shown}");
    }
    for wrong in ["amqp://user:swordfish@host:x", "user:swordfish@host", "amqp://user:swordfish%zz@host", "amqp://swordfish/a/b"] {
        assert!(!refused(wrong).contains("swordfish"), "{wrong}");
    }
    assert_eq!(read("amqp://[::1]/").to_string(), "amqp://[::1]:5672/");
    assert_eq!(read("amqp://").to_string(), "amqp://");
}

#[test]
fn what_is_shown_reads_the_same() {
    for text in ["amqp://host:1/v", "amqps://host/a%2fb", "amqp://[::1]", "amqp://", "amqp://host/", "amqp:///v", "amqp://host"] {
        let uri = read(text);
        assert_eq!(read(&uri.to_string()), uri, "{text}");
    }
}

#[test]
fn options_follow_from_it() {
    let options = read("amqp://user:password@host/v?heartbeat=0&channel_max=7&frame_max=8192").options().expect("options");
    assert_eq!((options.mechanism.as_str(), &options.response[..], options.vhost.as_str()), ("PLAIN", &b"\0user\0password"[..], "v"));
    assert_eq!((options.heartbeat_s, options.channel_max, options.frame_max), (0, 7, 8192));
    let options = read("amqp://host").options().expect("options");
    assert_eq!((&options.response[..], options.heartbeat_s, options.channel_max), (&b"\0guest\0guest"[..], 10, 2047));
    let options = read("amqp://host?auth_mechanism=external").options().expect("options");
    assert_eq!((options.mechanism.as_str(), &options.response[..]), ("EXTERNAL", &b""[..]));
}

#[tokio::test]
async fn each_mechanism_logs_in() {
    let broker = super::Broker::start();
    for mechanism in ["plain", "amqplain"] {
        let uri = read(&format!("amqp://guest:guest@{}?auth_mechanism={mechanism}", broker.address()));
        let connection = super::connect_with(&broker, uri.options().expect("options")).await.expect("a connection");
        super::soon(connection.close()).await.expect("closed");
    }
}
