//! Urls with secrets in every place where people put them; everything that is written of them is searched for the secret.

use std::time::Duration;

use proptest::prelude::*;

use super::ffmpeg::{self, Call};
use super::{
    Address, FfmpegInput, HttpCamera, Masker, Pace, RtspAddress, RtspCamera, Settings, Source, redact,
    shown_url,
};
use crate::domain::{CameraId, Login, Secret};

/// Every secret holds it twice, before and behind what is hard to read.
const CANARY: &str = "Geheim";

/// A secret that fits into a login, a query, and a path.
fn secret() -> impl Strategy<Value = String> {
    let hard = prop_oneof![
        "[/?#:&=%;+!$*,.~'()-]{0,6}",
        "[@:&=%;+!$*,.~'()-]{0,6}",
        "[A-Za-z0-9_äß漢]{0,6}",
        "%[0-9A-Fa-f]{2}"
    ];
    hard.prop_map(|hard| format!("{CANARY}{hard}{CANARY}"))
}

/// The same without what ends a value.
fn plain_secret() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.!~*%$+-]{0,8}".prop_map(|hard| format!("{CANARY}{hard}{CANARY}"))
}

fn place() -> impl Strategy<Value = String> {
    prop_oneof!["cam[a-z]{0,5}", "10\\.0\\.0\\.[1-9]", Just("[fd00::7]".to_owned())].prop_flat_map(|host| {
        prop_oneof![Just(host.clone()), (1u16..).prop_map(move |port| format!("{host}:{port}"))]
    })
}

/// A url with a secret in it.
fn url() -> impl Strategy<Value = String> {
    let scheme =
        || prop_oneof![Just("rtsp"), Just("rtsps"), Just("http"), Just("https"), Just("rtmp"), Just("RTSP")];
    let key = prop_oneof![
        Just("pass"),
        Just("key"),
        Just("auth"),
        Just("loginpas"),
        Just("-psw"),
        Just("Pwd"),
        Just("x"),
        Just("token"),
    ];
    let path_key =
        prop_oneof![Just("password"), Just("pass"), Just("loginPwd"), Just("token"), Just("secret")];
    prop_oneof![
        (scheme(), secret(), place())
            .prop_map(|(s, secret, place)| format!("{s}://admin:{secret}@{place}/live")),
        (scheme(), secret(), place(), key)
            .prop_map(|(s, secret, place, key)| format!("{s}://{place}/snap.cgi?user=a&{key}={secret}")),
        (scheme(), plain_secret(), place(), path_key).prop_map(|(s, secret, place, key)| format!(
            "{s}://{place}/user=admin_{key}={secret}_channel=1.sdp"
        )),
    ]
}

/// The settings of a camera that ffmpeg reads.
fn settings(input: &FfmpegInput) -> Settings {
    Settings {
        camera: CameraId::new("c").unwrap(),
        source: Source::Ffmpeg(input.clone()),
        fps: 5.0,
        width: 64,
        height: 48,
        settle: Duration::ZERO,
        stall_after: Duration::from_secs(1),
        pace: Pace::Realtime,
        looped: false,
    }
}

/// All that we write of this url.
fn written(url: &str, login: Option<&Login>) -> Vec<String> {
    let mut all = vec![redact(&format!("cannot open '{url}': 404")), redact(url), shown_url(url)];
    match Address::parse(url) {
        Ok(address) => {
            let camera = HttpCamera { address: address.clone(), login: login.cloned(), ca_file: None };
            all.extend([address.to_string(), format!("{address:?}"), format!("{camera:?}")]);
        }
        Err(error) => all.extend([error.to_string(), format!("{error:?}")]),
    }
    match RtspAddress::parse(url) {
        Ok((address, within)) => {
            let camera = RtspCamera { login: within, ..RtspCamera::new(address.clone()) };
            all.extend([address.to_string(), format!("{address:?}"), format!("{camera:?}")]);
        }
        Err(error) => all.extend([error.to_string(), format!("{error:?}")]),
    }
    let input = FfmpegInput { login: login.cloned(), ..FfmpegInput::new(url) };
    all.push(format!("{:?}", settings(&input)));
    match ffmpeg::call(&input, &settings(&input), None) {
        Ok(Call { args, input, .. }) => all.extend([args.join(" "), format!("{input:?}")]),
        Err(error) => all.push(error.to_string()),
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_secret_of_a_url_is_ever_written(url in url(), password in secret()) {
        let login = Login { user: "viewer".into(), password: Secret::new(password) };
        for text in written(&url, Some(&login)) {
            prop_assert!(!text.contains(CANARY), "{url} is written as {text}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_url_is_hidden(url in url(), password in secret()) {
        let login = Login { user: "viewer".into(), password: Secret::new(password.clone()) };
        let masker = Masker::of_url(&url, Some(&login));
        for said in [format!("no {url} here"), format!("<b>{password}</b>"), format!("x{password}y {url:?}")] {
            let shown = masker.mask(&said);
            prop_assert!(!shown.contains(CANARY), "{said} is shown as {shown}");
        }
    }
}
