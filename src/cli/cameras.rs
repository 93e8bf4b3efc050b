//! `portero cameras discover`: which cameras are there, and a ready piece of configuration for each.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use portero::capture::onvif::{self, Answerer};
use portero::capture::v4l2::{self, DeviceInfo};
use portero::clock::SystemClock;
use serde_json::json;

/// Where the names of devices lie that survive a reboot.
const BY_ID: &str = "/dev/v4l/by-id";

/// What to do with cameras.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List V4L2 devices and ONVIF cameras of the local network, as blocks for the configuration file.
    Discover(Discover),
}

#[derive(clap::Args)]
struct Discover {
    /// How long network cameras may take to answer, in seconds; 0 asks none.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=60))]
    wait: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The part of a stream's url that follows the host, by a word in what the camera calls itself. As the makers document
/// it, the smaller of two streams where there are two; not tried here.
const STREAMS: [(&str, &str); 8] = [
    ("hikvision", "/Streaming/Channels/102"),
    ("ds-", "/Streaming/Channels/102"),
    ("dahua", "/cam/realmonitor?channel=1&subtype=1"),
    ("ipc-h", "/cam/realmonitor?channel=1&subtype=1"),
    ("amcrest", "/cam/realmonitor?channel=1&subtype=1"),
    ("axis", "/axis-media/media.amp"),
    ("reolink", "/h264Preview_01_sub"),
    ("tapo", "/stream2"),
];

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Command::Discover(discover) = &arguments.command;
    let devices = v4l2::list();
    let network = match discover.wait {
        0 => Vec::new(),
        wait => onvif::discover(onvif::MULTICAST, Duration::from_secs(wait), &SystemClock)
            .context("the network cannot be asked; --wait 0 leaves it out")?,
    };
    let out = &mut io::stdout().lock();
    if discover.json {
        print_json(out, &devices, &network)?;
    } else {
        print(out, &devices, &network, discover.wait > 0)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut dyn Write, devices: &[DeviceInfo], network: &[Answerer], asked: bool) -> io::Result<()> {
    let mut ids = BTreeSet::new();
    if devices.is_empty() {
        writeln!(out, "# No V4L2 device. A camera module of a Raspberry Pi shows none that is of use:")?;
        writeln!(out, "# source = {{ preset = \"rpicam-vid\" }}")?;
    }
    for device in devices {
        print_device(out, device, &mut ids)?;
    }
    if asked && network.is_empty() {
        writeln!(
            out,
            "\n# No ONVIF camera answered. Some have it switched off, some are in another network."
        )?;
    }
    for camera in network {
        print_network(out, camera, &mut ids)?;
    }
    Ok(())
}

fn print_device(out: &mut dyn Write, device: &DeviceInfo, ids: &mut BTreeSet<String>) -> io::Result<()> {
    let name = printable(&device.name);
    writeln!(out, "\n# {}{}{name}", device.path.display(), if name.is_empty() { "" } else { ": " })?;
    for format in &device.formats {
        writeln!(out, "#   {format}")?;
    }
    if let Some(problem) = &device.problem {
        writeln!(out, "#   cannot be asked: {problem}")?;
        return Ok(());
    }
    if device.formats.is_empty() {
        writeln!(out, "#   offers neither MJPEG nor YUYV")?;
        return Ok(());
    }
    let source = stable_name(&device.path, Path::new(BY_ID));
    writeln!(
        out,
        "[[camera]]\nid = \"{}\"\nsource = {:?}",
        fresh_id(&name, "camera", ids),
        source.display()
    )?;
    let sizes = device.formats.iter().filter_map(|format| size_in(format));
    // What the classifier sees is small: the smallest from 640x480 on costs least.
    let best = sizes.clone().filter(|[w, h]| *w >= 640 && *h >= 480).min_by_key(|[w, h]| w * h);
    if let Some([width, height]) = best.or_else(|| sizes.max_by_key(|[w, h]| w * h)) {
        writeln!(out, "size = [{width}, {height}]")?;
    }
    Ok(())
}

fn print_network(out: &mut dyn Write, camera: &Answerer, ids: &mut BTreeSet<String>) -> io::Result<()> {
    let Answerer { service, host, name, hardware } = camera;
    let known = format!("{name} {hardware}").to_lowercase();
    let stream = STREAMS.iter().find(|(word, _)| known.contains(word)).map(|(_, stream)| *stream);
    writeln!(out, "\n# ONVIF, {service}: {}", known_as(name, hardware))?;
    match stream {
        Some(_) => {
            writeln!(
                out,
                "# The path is this maker's usual one; `portero check` tells whether it is right."
            )?;
        }
        None => writeln!(out, "# The path of its stream stands in its manual; put it behind the host.")?,
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    writeln!(out, "[[camera]]\nid = \"{}\"", fresh_id(name, "net", ids))?;
    let url = format!("rtsp://{host}{}", stream.unwrap_or("/"));
    writeln!(out, "source = {{ rtsp = {url:?}, user = \"viewer\", password_file = \"camera-password\" }}")
}

fn known_as(name: &str, hardware: &str) -> String {
    let parts: Vec<&str> = [name, hardware].into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "it gives no name".to_owned() } else { parts.join(", ") }
}

fn print_json(out: &mut dyn Write, devices: &[DeviceInfo], network: &[Answerer]) -> io::Result<()> {
    for device in devices {
        let source = stable_name(&device.path, Path::new(BY_ID));
        let line = json!({
            "kind": "v4l2", "path": device.path, "source": source, "name": device.name,
            "formats": device.formats, "problem": device.problem,
        });
        writeln!(out, "{line}")?;
    }
    for Answerer { service, host, name, hardware } in network {
        let line =
            json!({"kind": "onvif", "service": service, "host": host, "name": name, "hardware": hardware});
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The link in `folder` that leads to the device, or its own path where there is none.
fn stable_name(device: &Path, folder: &Path) -> PathBuf {
    let mut links: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|link| link.canonicalize().is_ok_and(|target| target == device))
        .collect();
    links.sort();
    links.into_iter().next().unwrap_or_else(|| device.to_owned())
}

/// `[width, height]` in a line such as `MJPEG 1280x720 at 30, 15`.
fn size_in(format: &str) -> Option<[u32; 2]> {
    let (width, height) = format.split(' ').nth(1)?.split_once('x')?;
    Some([width.parse().ok()?, height.parse().ok()?])
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect::<String>().trim().to_owned()
}

/// An id made of `name`, or of `stand_in`, that was not given yet.
fn fresh_id(name: &str, stand_in: &str, given: &mut BTreeSet<String>) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = name.chars().map(fold).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    let base: String = words.join("-").chars().take(24).collect();
    let base = if base.is_empty() { stand_in } else { base.trim_end_matches('-') };
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    let id =
        std::iter::once(base.to_owned()).chain(numbered).find(|id| !given.contains(id)).unwrap_or_default();
    given.insert(id.clone());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, formats: &[&str]) -> DeviceInfo {
        DeviceInfo {
            path: "/dev/video0".into(),
            name: name.into(),
            formats: formats.iter().map(|&f| f.into()).collect(),
            problem: None,
        }
    }

    fn answerer(host: &str, name: &str, hardware: &str) -> Answerer {
        let (name, hardware) = (name.to_owned(), hardware.to_owned());
        Answerer { service: format!("{host}:80"), host: host.into(), name, hardware }
    }

    #[test]
    fn what_is_found_is_a_configuration_that_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let camera = device(
            "HD Webcam \u{1b}C920",
            &["YUYV 320x240 at 30", "MJPEG 1280x720 at 30, 15", "YUYV 640x480 at 30"],
        );
        let twice = [camera.clone(), camera];
        let network = [answerer("192.0.2.8", "HIKVISION DS-2CD", "DS-2CD"), answerer("192.0.2.9", "", "")];
        let mut block = Vec::new();
        print(&mut block, &twice, &network, true).unwrap();
        let block = String::from_utf8(block).unwrap();
        assert!(
            block.contains("id = \"hd-webcam-c920\"\n") && block.contains("id = \"hd-webcam-c920-2\"\n"),
            "{block}"
        );
        assert!(block.contains("size = [640, 480]"), "{block}");
        assert!(block.contains("rtsp://192.0.2.8/Streaming/Channels/102"), "{block}");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/person-v3s.toml");
        let text = format!("version = 1\n[model]\nmanifest = {manifest:?}\n{block}");
        let path = folder.path().join("portero.toml");
        fs::write(&path, text).unwrap();
        let password = folder.path().join("camera-password");
        fs::write(&password, "x\n").unwrap();
        fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let loaded =
            portero::config::load(&path).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        assert_eq!(loaded.config.cameras.len(), 4);
    }

    #[test]
    fn a_device_is_called_by_the_link_that_survives_a_reboot() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().canonicalize().unwrap().join("video7");
        fs::write(&device, "").unwrap();
        assert_eq!(stable_name(&device, folder.path()), device);
        let link = folder.path().join("usb-cam-index0");
        std::os::unix::fs::symlink(&device, &link).unwrap();
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join(link.file_name().unwrap());
        std::os::unix::fs::symlink(&device, &link).unwrap();
        assert_eq!(stable_name(&device, links.path()), link);
    }

    #[test]
    fn nothing_found_is_said() {
        let mut out = Vec::new();
        print(&mut out, &[], &[], true).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("No V4L2 device") && out.contains("No ONVIF camera answered"), "{out}");
    }
}
