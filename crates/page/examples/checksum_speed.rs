//! Measures how fast page checksums are computed on one core: `cargo run --release -p
//! walbrook-page --example checksum_speed`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::hint::black_box;
use std::time::Instant;

use walbrook_page::{Page, checksum, verify};

fn main() {
    // More than any cache holds would measure memory; this is 32 MiB.
    let pages: Vec<Page> = (0..4096u32)
        .map(|n| std::array::from_fn(|at| (at as u32).wrapping_mul(n | 1).to_le_bytes()[1] | 1))
        .collect();
    for (what, judge) in [
        ("checksum", (|page, block| u32::from(checksum(page, block))) as fn(&Page, u32) -> u32),
        ("verify", |page, block| u32::from(verify(page, block, true).is_sound())),
    ] {
        let start = Instant::now();
        for _ in 0..16 {
            for (block, page) in (0..).zip(&pages) {
                black_box(judge(black_box(page), block));
            }
        }
        let bytes = (16 * pages.len() * 8192) as f64;
        println!("{what}: {:.2} GB/s", bytes / start.elapsed().as_secs_f64() / 1e9);
    }
}
