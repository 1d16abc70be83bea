//! A store of many objects: whether a get and a page of a list cost more than in a small one.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waft_measure::report::{ms, quantile};

use crate::{
    Extent,
    client::{Ask, Client},
    objects::config_maps,
    operations::{Until, create, load},
    sides::Side,
};

const SMALL: u64 = 1000;
const PAGE: usize = 500;

pub(crate) async fn run(side: &Side, extent: &Extent) -> Result<()> {
    let mut stored = 0;
    for wanted in [SMALL, extent.large] {
        let began = Instant::now();
        let missing = Until::Count(wanted - stored);
        load(side, 32, missing, move |_, number| {
            create("large", stored + number)
        })
        .await?;
        stored = wanted;
        let filled = began.elapsed();
        let mut client = Client::connect(side).await?;
        let mut gets = Vec::new();
        for number in 0..1000 {
            let path = format!("{}/c-{}", config_maps("large"), number * 7919 % stored);
            let sent = Instant::now();
            client.count(Ask::get(path)).await?;
            gets.push(sent.elapsed());
        }
        let mut pages = Vec::new();
        // From the start again and again, and on through the list.
        let mut next = String::new();
        while pages.len() < 60 {
            let path = format!("{}?limit={PAGE}&continue={next}", config_maps("large"));
            let sent = Instant::now();
            let page = client.ask(Ask::get(path)).await?;
            let took = sent.elapsed();
            let page: Value = serde_json::from_slice(&page)?;
            let items = page["items"].as_array().context("no items")?.len();
            next = page["metadata"]["continue"]
                .as_str()
                .unwrap_or_default()
                .into();
            // The last page has what is left.
            ensure!(items == PAGE || next.is_empty(), "{items} items in a page");
            if items == PAGE {
                pages.push(took);
            }
        }
        println!(
            "{} with {stored} objects (filled in {:.1} s): get {}, page of {PAGE} {} (medians); {}",
            side.name,
            filled.as_secs_f64(),
            ms(quantile(&mut gets, 0.5)),
            ms(quantile(&mut pages, 0.5)),
            side.memory("now")?,
        );
    }
    Ok(())
}
