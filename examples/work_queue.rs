//! Load balancing: one queue, several workers, each message to one of them, more to those who are faster.
//!
//! Run the broker (`cargo run --release`), then `cargo run --example work_queue`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::sync::mpsc;

const JOBS: usize = 30;
/// The workers, and how long each takes for a job.
const WORKERS: [(&str, Duration); 3] =
    [("quick", Duration::from_millis(5)), ("steady", Duration::from_millis(10)), ("slow", Duration::from_millis(40))];

async fn connect() -> lapin::Result<Connection> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

/// Works until the connection closes, and reports every job done.
async fn work(
    channel: Channel,
    queue: String,
    name: &'static str,
    effort: Duration,
    done: mpsc::UnboundedSender<(&'static str, String)>,
) -> lapin::Result<()> {
    // Without a prefetch of 1 the broker would hand all jobs out at once, in turn, to the slow one as well.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut jobs = channel.basic_consume(queue.into(), name.into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    while let Some(job) = jobs.next().await {
        let job = job?;
        tokio::time::sleep(effort).await;
        // Only now is it done: had this worker died before, another would have got the job.
        job.ack(BasicAckOptions::default()).await?;
        let _ = done.send((name, String::from_utf8_lossy(&job.data).into_owned()));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().to_string();

    let (done, mut results) = mpsc::unbounded_channel();
    for (name, effort) in WORKERS {
        let (channel, queue, done) = (connection.create_channel().await?, queue.clone(), done.clone());
        tokio::spawn(async move {
            if let Err(error) = work(channel, queue, name, effort, done).await {
                eprintln!("{name}: {error}");
            }
        });
    }

    for n in 1..=JOBS {
        let job = format!("job {n}");
        let sent = channel
            .basic_publish("".into(), queue.as_str().into(), BasicPublishOptions::default(), job.as_bytes(), BasicProperties::default())
            .await?;
        sent.await?;
    }

    let mut by_worker: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for _ in 0..JOBS {
        let (worker, job) = results.recv().await.ok_or("the workers are gone")?;
        by_worker.entry(worker).or_default().push(job);
    }
    for (worker, jobs) in by_worker {
        println!("{worker:>6} did {:2}: {}", jobs.len(), jobs.join(", "));
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
