//! Whether a file can be trusted with a door: only root and we ourselves may be able to change it.
//!
//! Whoever can write the configuration, the model, the program of a door or any folder on the way to one of them decides who
//! gets in. So the file is examined through its open descriptor (its owner and its mode), and then every folder and every
//! link on the way to it. A folder in which everybody may write is let in only where the sticky bit of a folder of root's
//! keeps others from renaming what is ours, as in `/tmp`.
//!
//! This examines; what comes of it is for the caller to decide.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links that are followed on the way to one file, as the kernel does.
const MOST_LINKS: u32 = 40;
/// Debian's group for those who may change `/usr/local`; they are as good as root.
const STAFF: u32 = 50;

/// Why a file cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// The file, or the folder or link on the way to it.
    pub path: PathBuf,
    /// What is wrong with it: who owns it, or who may write it.
    pub fault: String,
    /// The command that mends it.
    pub remedy: String,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.fault)
    }
}

/// Examines the file that was opened as `path`, and the way to it. The first fault that is found; `None` when it can be
/// trusted. Blocks on the file system.
///
/// # Errors
/// What the system says when it cannot be examined.
pub fn examine(file: &File, path: &Path) -> io::Result<Option<Distrust>> {
    let opened = file.metadata()?;
    if let Some(distrust) = of_file(&opened, path) {
        return Ok(Some(distrust));
    }
    match way(path)? {
        Way::Distrusted(distrust) => Ok(Some(distrust)),
        Way::LeadsTo(found) if (found.dev(), found.ino()) == (opened.dev(), opened.ino()) => Ok(None),
        Way::LeadsTo(_) => Ok(Some(Distrust {
            path: path.to_owned(),
            fault: "was replaced while it was being read".to_owned(),
            remedy: "find out who does that, then try again".to_owned(),
        })),
    }
}

/// Opens a file for reading and examines it; see [`examine`].
///
/// # Errors
/// What the system says when it cannot be opened or examined.
pub fn examine_path(path: &Path) -> io::Result<Option<Distrust>> {
    examine(&File::open(path)?, path)
}

/// Examines a program: `name` itself where it holds a slash, else what the folders of `search` lead to, as the system finds
/// it. `None` when it can be trusted. A program that we may run but not read is examined by its path. Blocks on the file
/// system.
///
/// # Errors
/// There is no such program, it may not be run, or it cannot be examined.
pub fn examine_program(name: &str, search: &OsStr) -> io::Result<Option<Distrust>> {
    let path = program_path(name, search)?;
    match File::open(&path) {
        Ok(file) => examine(&file, &path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match way(&path)? {
            Way::Distrusted(distrust) => Ok(Some(distrust)),
            Way::LeadsTo(found) => Ok(of_file(&found, &path)),
        },
        Err(error) => Err(error),
    }
}

/// Examines the file that an argument of a program names, by itself or behind a `=`: it may be the script that is run.
/// `None` as well when it names none. Blocks on the file system.
///
/// # Errors
/// What the system says when the file cannot be opened or examined.
pub fn examine_argument(argument: &str) -> io::Result<Option<Distrust>> {
    let behind = argument.match_indices('=').map(|(at, _)| &argument[at + 1..]);
    for path in std::iter::once(argument).chain(behind).map(Path::new).filter(|path| path.is_file()) {
        if let Some(distrust) = examine_path(path)? {
            return Ok(Some(distrust));
        }
    }
    Ok(None)
}

fn program_path(name: &str, search: &OsStr) -> io::Result<PathBuf> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        if path.metadata()?.is_file() && may_run(&path) {
            return Ok(path);
        }
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no program that may be run"));
    }
    let mut paths = std::env::split_paths(search).map(|folder| folder.join(name));
    let found = paths.find(|path| path.is_file() && may_run(path));
    found.ok_or_else(|| {
        let folders = search.to_string_lossy();
        io::Error::new(io::ErrorKind::NotFound, format!("no folder of PATH={folders} has it"))
    })
}

fn may_run(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn of_file(file: &Metadata, path: &Path) -> Option<Distrust> {
    if let Some(distrust) = of_owner(file, path) {
        return Some(distrust);
    }
    let writers = match file.mode() & 0o022 {
        0 => return None,
        0o020 => format!("its group {} may write it", file.gid()),
        _ => "everybody may write it".to_owned(),
    };
    Some(writable(file, path, &writers))
}

fn of_owner(file: &Metadata, path: &Path) -> Option<Distrust> {
    let us = rustix::process::geteuid().as_raw();
    if file.uid() == 0 || file.uid() == us {
        return None;
    }
    let owner = if us == 0 { "root".to_owned() } else { format!("root or to user {us}, who runs this") };
    Some(Distrust {
        path: path.to_owned(),
        fault: format!("belongs to user {}; it must belong to {owner}", file.uid()),
        remedy: format!("chown -h root {}", path.display()),
    })
}

fn writable(file: &Metadata, path: &Path, writers: &str) -> Distrust {
    Distrust {
        path: path.to_owned(),
        fault: format!("has mode {:04o}: {writers}; only its owner may write it", file.mode() & 0o7777),
        remedy: format!("chmod go-w {}", path.display()),
    }
}

fn of_folder(folder: &Metadata, path: &Path) -> Option<Distrust> {
    if let Some(distrust) = of_owner(folder, path) {
        return Some(distrust);
    }
    let is_kept_apart = folder.mode() & 0o1000 != 0 && folder.uid() == 0;
    // A group of root's, and one that has the user's own number, have no other member.
    let is_ours = folder.gid() == 0 || folder.gid() == folder.uid();
    let is_staff = folder.gid() == STAFF && path.starts_with("/usr/local");
    let writers = match folder.mode() & 0o022 {
        _ if is_kept_apart => return None,
        0 => return None,
        0o020 if is_ours || is_staff => return None,
        0o020 => format!("its group {} may put another file in its place", folder.gid()),
        _ => "everybody may put another file in its place".to_owned(),
    };
    Some(writable(folder, path, &writers))
}

/// What the way to a file leads to.
enum Way {
    Distrusted(Distrust),
    LeadsTo(Metadata),
}

/// Goes the way step by step, through links as well.
fn way(path: &Path) -> io::Result<Way> {
    let path = if path.is_absolute() { path.to_owned() } else { std::env::current_dir()?.join(path) };
    let mut ahead: Vec<OsString> = steps(&path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    loop {
        let found = fs::symlink_metadata(&here)?;
        if found.is_symlink() {
            if let Some(distrust) = of_owner(&found, &here) {
                return Ok(Way::Distrusted(distrust));
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::other("it leads through too many links"));
            }
            let target = fs::read_link(&here)?;
            here.pop();
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            ahead.extend(steps(&target));
        } else if found.is_dir()
            && let Some(distrust) = of_folder(&found, &here)
        {
            return Ok(Way::Distrusted(distrust));
        }
        match ahead.pop() {
            None if found.is_symlink() => {}
            None => return Ok(Way::LeadsTo(found)),
            Some(step) if step == ".." => {
                here.pop();
            }
            Some(step) => here.push(step),
        }
    }
}

/// The names of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut names: Vec<OsString> = named.map(|part| part.as_os_str().to_owned()).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn site() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portero.toml");
        fs::write(&file, "x").unwrap();
        set(&file, 0o640);
        (folder, file)
    }

    fn fault(path: &Path) -> String {
        examine_path(path).unwrap().map(|distrust| distrust.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_file_that_others_may_write_is_not_trusted() {
        let (_folder, file) = site();
        assert_eq!(fault(&file), "");
        for (mode, who) in [(0o642, "everybody"), (0o660, "its group"), (0o666, "everybody")] {
            set(&file, mode);
            let distrust = examine_path(&file).unwrap().unwrap();
            assert!(
                distrust.fault.contains(who) && distrust.fault.contains(&format!("{mode:04o}")),
                "{distrust}"
            );
            assert_eq!(distrust.remedy, format!("chmod go-w {}", file.display()));
        }
    }

    #[test]
    fn a_folder_in_which_others_may_put_another_file_is_not_trusted() {
        let (folder, file) = site();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let file = {
            let moved = inner.join("portero.toml");
            fs::rename(file, &moved).unwrap();
            moved
        };
        assert_eq!(fault(&file), "");
        for mode in [0o777, 0o757] {
            set(&folder.path().join("a"), mode);
            assert!(fault(&file).contains("may put another file in its place"), "{}", fault(&file));
        }
        set(&folder.path().join("a"), 0o1777);
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(fault(&file).is_empty(), is_root, "only root's sticky folder protects: {}", fault(&file));
    }

    #[test]
    fn a_link_is_trusted_no_further_than_where_it_lies_and_where_it_leads() {
        let (folder, file) = site();
        let link = folder.path().join("link.toml");
        symlink(&file, &link).unwrap();
        assert_eq!(fault(&link), "");
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        set(&open, 0o777);
        let within = open.join("link.toml");
        symlink(&file, &within).unwrap();
        assert!(fault(&within).contains("/open has mode 0777"), "{}", fault(&within));
        let other = open.join("portero.toml");
        fs::write(&other, "x").unwrap();
        let outside = folder.path().join("outside.toml");
        symlink("open/portero.toml", &outside).unwrap();
        assert!(fault(&outside).contains("/open has mode 0777"), "{}", fault(&outside));
        let round = folder.path().join("round");
        symlink("round", &round).unwrap();
        assert!(examine_path(&round).is_err());
    }

    #[test]
    fn a_file_or_link_of_somebody_else_is_not_trusted() {
        let (folder, file) = site();
        if chown(&file, Some(4711), None).is_err() {
            return; // Only root can give files away.
        }
        let distrust = examine_path(&file).unwrap().unwrap();
        assert!(distrust.fault.starts_with("belongs to user 4711; it must belong to root"), "{distrust}");
        chown(&file, Some(0), None).unwrap();
        let link = folder.path().join("link.toml");
        symlink(&file, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4711), None).unwrap();
        assert!(fault(&link).contains("link.toml belongs to user 4711"), "{}", fault(&link));
    }

    #[test]
    fn a_program_is_found_as_the_system_finds_it() {
        let (folder, file) = site();
        let search = std::env::join_paths([folder.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        set(&file, 0o777);
        assert!(examine_program(&file.to_string_lossy(), &search).unwrap().is_some());
        assert_eq!(examine_program("sh", &search).unwrap(), None);
        // What may not be run is passed over, as the system passes it over.
        fs::write(folder.path().join("sh"), "x").unwrap();
        set(&folder.path().join("sh"), 0o666);
        assert_eq!(examine_program("sh", &search).unwrap(), None);
        set(&folder.path().join("sh"), 0o777);
        assert!(examine_program("sh", &search).unwrap().is_some());
    }

    #[test]
    fn a_program_that_cannot_be_found_or_run_is_never_trusted() {
        let (_folder, file) = site();
        for name in ["/no/such/program", "no-such-program", &file.to_string_lossy()] {
            assert!(examine_program(name, OsStr::new("/usr/bin")).is_err(), "{name}");
        }
    }

    #[test]
    fn a_script_is_examined_however_an_argument_names_it() {
        let (folder, file) = site();
        set(&file, 0o666);
        for argument in [
            file.display().to_string(),
            format!("--script={}", file.display()),
            format!("a=b={}", file.display()),
        ] {
            assert!(examine_argument(&argument).unwrap().is_some(), "{argument}");
        }
        assert!(Path::new("Cargo.toml").is_file(), "a relative argument that exists");
        assert_eq!(examine_argument("Cargo.toml").unwrap(), examine_path(Path::new("Cargo.toml")).unwrap());
        assert_eq!(examine_argument(&folder.path().to_string_lossy()).unwrap(), None);
        assert_eq!(examine_argument("--password=x").unwrap(), None);
    }
}
