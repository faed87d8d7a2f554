//! A restored server that archives into the same repository: two timelines side by side.

use walbrook_testkit::{Cluster, Installation, Until};

use super::data::{self, APP, Contents, Moment};
use super::{for_each_major, oracles};
use crate::support::Scene;

for_each_major!(a_promoted_server_goes_on_archiving);

fn a_promoted_server_goes_on_archiving(installation: &Installation) {
    let scene = Scene::new();
    let config =
        Cluster::builder(installation).data_checksums(true).config("track_commit_timestamp", "on");
    let old = scene.archiving(config).start().unwrap();
    // Makes the repository, so that the server archives before the backup that is restored: its
    // copies shall have the archive_command too.
    let first = scene.backup(&old, &[]);
    scene.start_archiving(&old);
    data::fill(&old);
    let backup = scene.backup(&old, &[]);
    let id = backup["id"].as_str().unwrap();

    let fork = Moment::take(&old, "fork");
    data::lose_data(&old);
    old.psql_ok(APP, "INSERT INTO marks VALUES ('on timeline 1', 0)").unwrap();
    scene.archive_now(&old);

    // The restored server has the original's archive_command, and the right to use it.
    let target = ["--target-name", &fork.name, "--target-action", "promote"];
    let directory = data::restore(&scene, &old, "new", &target);
    let new = Cluster::adopt(installation, &directory).until(Until::Promoted).start().unwrap();
    fork.contents.assert_in(&new, "fork");
    // Without nextval, whose effect a recovery that ends before the commit would show.
    new.psql_ok(APP, "INSERT INTO marks VALUES ('on timeline 2', 0)").unwrap();
    let on_new = Contents::of(&new);
    new.psql_ok("postgres", "SELECT pg_create_restore_point('two')").unwrap();
    let segment = scene.archive_now(&new);
    assert!(segment.starts_with("00000002"), "{segment}");
    // The original lives on, on timeline 1.
    let on_old = Contents::of(&old);
    scene.archive_now(&old);

    let check_of = |original: &Cluster, name: &str, args: &[&str], expected: &Contents| {
        let directory = data::restore(&scene, original, name, args);
        let restored = scene.adopt(&old, &directory).until(Until::Promoted).start().unwrap();
        expected.assert_in(&restored, name);
        let sql = "SELECT timeline_id FROM pg_control_checkpoint()";
        restored.psql_ok("postgres", "CHECKPOINT").unwrap();
        let now: u32 = restored.psql("postgres", sql).unwrap().parse().unwrap();
        // It looked in the repository for a number that nobody has.
        assert_eq!(now, 3, "{name}: the timeline after the promotion");
        drop(restored);
        std::fs::remove_dir_all(directory).unwrap();
    };
    let check = |name: &str, args: &[&str], expected: &Contents| {
        check_of(&old, name, args, expected);
    };
    check("latest", &[], &on_new);
    check("two", &["--target-timeline", "2"], &on_new);
    check("one", &["--target-timeline", "1"], &on_old);
    check("current", &["--target-timeline", "current"], &on_old);
    let promote = ["--target-action", "promote"];
    check("point", &[&["--target-name", "two"], &promote[..]].concat(), &on_new);
    let fork_time = [&["--target-time", &fork.time], &promote[..]].concat();
    check("common past", &fork_time, &fork.contents);
    // What only the other timeline has can't be had.
    let elsewhere =
        scene.try_restore("no", &["--target-name", "two", "--target-timeline", "1"]).expect(1);
    assert!(elsewhere.stderr.contains("two"), "{}", elsewhere.stderr);
    assert!(!scene.path("no").exists());

    let windows = scene.list()["windows"].clone();
    let of = |timeline: u64| {
        let mine = |window: &&serde_json::Value| window["timeline"] == timeline;
        windows.as_array().unwrap().iter().find(mine).unwrap_or_else(|| panic!("{windows}"))
    };
    for (timeline, window) in [(1, of(1)), (2, of(2))] {
        assert_eq!(window["first_backup"], first["id"], "{timeline}: {windows}");
        assert_eq!(window["last_backup"], backup["id"], "{timeline}: {windows}");
    }

    // A backup on the new timeline is the one that latest begins with; the older still does.
    new.psql_ok(APP, "INSERT INTO marks (name) VALUES ('after the second backup')").unwrap();
    let second = scene.backup(&new, &[]);
    assert_eq!(second["span"]["timeline"], 2);
    new.psql_ok(APP, "INSERT INTO marks (name) VALUES ('at the end')").unwrap();
    let end = Contents::of(&new);
    scene.archive_now(&new);
    let mapped = data::mapped(&new, &scene, "planned");
    let args: Vec<&str> =
        ["--dry-run"].into_iter().chain(mapped.iter().map(String::as_str)).collect();
    let plan = scene.try_restore("planned", &args).expect(0);
    assert!(!scene.path("planned").exists(), "a dry run writes nothing");
    assert!(plan.stdout.contains(second["id"].as_str().unwrap()), "{}", plan.stdout);
    // Its tablespace is where the restore put it.
    check_of(&new, "second", &[], &end);
    check("through the switch", &["--backup", id], &end);
    oracles::check_relations(&new);
}
