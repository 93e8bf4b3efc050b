//! Data sets: what is counted, what is refused, and that no source is on both sides of a split.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use crate::support::{Stripes, refused, scratch, stderr, stdout, train};

fn inspect(arguments: &[&str]) -> Value {
    let output = train(&[&["inspect", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn inspect_counts_and_names_what_cannot_be_read() {
    let set = Stripes::new(20);
    fs::write(set.path().join("lying/broken.jpg"), "not a picture").unwrap();
    let whole = fs::read(set.path().join("lying/lying-0.png")).unwrap();
    fs::write(set.path().join("standing/half.png"), &whole[..whole.len() / 2]).unwrap();

    let found = inspect(&[set.data()]);
    for (class, name) in found["classes"].as_array().unwrap().iter().zip(["lying", "standing"]) {
        assert_eq!(
            (&class["name"], &class["train"], &class["val"], &class["test"]),
            (&name.into(), &14.into(), &3.into(), &3.into())
        );
    }
    let unreadable: Vec<&str> =
        found["unreadable"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(unreadable, ["lying/broken.jpg", "standing/half.png"]);
    assert_eq!(found["width_px"], serde_json::json!([28, 28, 28]));

    let text = stdout(&train(&["inspect", set.data()]));
    assert!(text.contains("2 unreadable files") && text.contains("lying/broken.jpg"), "{text}");
}

#[test]
fn the_same_picture_in_two_parts_is_found_even_when_it_was_saved_anew() {
    let set = Stripes::new(6);
    for part in ["train", "val"] {
        for class in ["lying", "standing"] {
            fs::create_dir_all(set.path().join(part).join(class)).unwrap();
        }
    }
    for number in 0..6 {
        let part = if number < 4 { "train" } else { "val" };
        for class in ["lying", "standing"] {
            let name = format!("{class}-{number}.png");
            fs::rename(set.path().join(class).join(&name), set.path().join(part).join(class).join(name))
                .unwrap();
        }
    }
    assert_eq!(inspect(&[set.data()])["near_duplicates"], serde_json::json!([]));
    let original = image::open(set.path().join("train/lying/lying-1.png")).unwrap();
    original
        .resize(56, 56, image::imageops::FilterType::Triangle)
        .save(set.path().join("val/lying/copy.jpg"))
        .unwrap();
    let found = inspect(&[set.data()]);
    assert_eq!(
        found["near_duplicates"],
        serde_json::json!([["train/lying/lying-1.png", "val/lying/copy.jpg"]])
    );
}

#[test]
fn crops_of_one_photo_stay_in_one_part() {
    let set = Stripes::new(0);
    for photo in 0..30 {
        for piece in 0..4 {
            let class = if piece % 2 == 0 { "lying" } else { "standing" };
            let path = set.draw(class, photo * 4 + piece);
            fs::rename(&path, path.with_file_name(format!("{photo:012}_{piece}.png"))).unwrap();
        }
    }
    let runs = tempfile::tempdir().unwrap();
    let part_of = |out: &str, more: &[&str]| -> HashMap<String, String> {
        let out = runs.path().join(out);
        let output = train(&scratch(set.data(), out.to_str().unwrap(), &[&["--epochs", "1"], more].concat()));
        assert!(output.status.success(), "{}", stderr(&output));
        let table = fs::read_to_string(out.join("split.csv")).unwrap();
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').map(|cell| cell.trim_matches('"')).collect();
            (cells[0].to_owned(), cells[2].to_owned())
        };
        table.lines().skip(1).map(row).collect()
    };
    let first = part_of("first", &[]);
    let mut parts: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, part) in &first {
        let photo = name.rsplit('/').next().unwrap().split('_').next().unwrap();
        parts.entry(photo).or_default().push(part);
    }
    assert!(
        parts.len() == 30 && parts.values().all(|p| p.len() == 4 && p.iter().all(|x| *x == p[0])),
        "{parts:?}"
    );
    let count = |part: &str| first.values().filter(|p| *p == part).count();
    assert!((76..=92).contains(&count("train")) && count("val") >= 12 && count("test") >= 12);
    assert_eq!(part_of("again", &[]), first, "the seed decides the split");
    assert_ne!(part_of("other", &["--seed", "2"]), first);
}

#[test]
fn bad_data_sets_are_refused_by_name() {
    let runs = tempfile::tempdir().unwrap();
    let out = runs.path().join("run");
    let out = out.to_str().unwrap();
    let refusal = |set: &Stripes| refused(&scratch(set.data(), out, &["--epochs", "1"]));

    let empty = tempfile::tempdir().unwrap();
    let text = refused(&scratch(empty.path().to_str().unwrap(), out, &[]));
    assert!(text.contains("holds neither a folder per class nor IDX files"), "{text}");

    let one = Stripes::new(9);
    fs::remove_dir_all(one.path().join("lying")).unwrap();
    assert!(refusal(&one).contains("holds one class only, \"standing\""), "{}", refusal(&one));

    let hollow = Stripes::new(9);
    fs::create_dir(hollow.path().join("nobody")).unwrap();
    fs::write(hollow.path().join("nobody/readme.txt"), "soon").unwrap();
    assert!(
        refusal(&hollow).contains("the class \"nobody\" has no readable picture"),
        "{}",
        refusal(&hollow)
    );

    let single = Stripes::new(9);
    single.draw("rare", 1);
    let text = refusal(&single);
    assert!(
        text.contains("the class \"rare\" has 1 pictures of 1 sources") && text.contains("would get none"),
        "{text}"
    );

    let reserved = Stripes::new(9);
    reserved.draw("unknown", 1);
    assert!(refusal(&reserved).contains("reserved"), "{}", refusal(&reserved));

    let text = refused(&scratch("/nowhere/at/all", out, &[]));
    assert!(text.contains("/nowhere/at/all"), "{text}");
    assert!(!std::path::Path::new(out).exists(), "a refused run leaves no folder");
}
