// SPDX-License-Identifier: MIT
//! sleepers fire COUNT LEAD_MS | hold COUNT: the same with tokio.
use micro::{argument, cpu_ns, resident_bytes};
use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static STARTED: Cell<usize> = Cell::new(0);
    static LAST_START: Cell<Option<Instant>> = Cell::new(None);
}

async fn sleeper(due: Instant) -> f64 {
    LAST_START.with(|last| last.set(Some(Instant::now())));
    tokio::time::sleep_until(due.into()).await;
    let now = Instant::now();
    (now.saturating_duration_since(due).as_secs_f64() - due.saturating_duration_since(now).as_secs_f64()) * 1e3
}

async fn measure_fire(count: usize, lead: Duration) {
    let (began, cpu_began) = (Instant::now(), cpu_ns());
    let due = |i: usize| began + lead + Duration::from_micros((i * 61803 % count) as u64 * 10);
    let all: Vec<_> = (0..count).map(|i| tokio::spawn(sleeper(due(i)))).collect();
    let mut late = Vec::with_capacity(count);
    for task in all {
        late.push(task.await.unwrap());
    }
    println!("cpu_ms {:.2}", (cpu_ns() - cpu_began) / 1e6);
    let last = LAST_START.with(|last| last.get()).unwrap();
    println!("started_ms {:.1}", (last - began).as_secs_f64() * 1e3);
    late.sort_by(|a, b| a.partial_cmp(b).unwrap());
    println!("late_min_ms {:.4}\nlate_p50_ms {:.4}", late[0], late[count / 2]);
    println!("late_p99_ms {:.4}\nlate_max_ms {:.4}", late[count * 99 / 100], late[count - 1]);
}

async fn measure_hold(count: usize) {
    let (before, cpu_began) = (resident_bytes(), cpu_ns());
    for _ in 0..count {
        tokio::spawn(async {
            STARTED.with(|started| started.set(started.get() + 1));
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
    }
    while STARTED.with(|started| started.get()) < count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("cpu_ns {:.1}", (cpu_ns() - cpu_began) / count as f64);
    println!("bytes {:.1}", (resident_bytes() - before) / count as f64);
}

fn main() {
    let count: usize = argument(2).unwrap().parse().unwrap();
    match argument(1).unwrap().as_str() {
        "fire" => micro::run(measure_fire(count, Duration::from_millis(argument(3).unwrap().parse().unwrap()))),
        _ => micro::run(measure_hold(count)),
    }
}
