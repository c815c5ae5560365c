//! Names of the site's tags and categories, and their ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use copydesk_core::failure::Failure;
use copydesk_proto::TraceContext;
use serde::Deserialize;

use super::plan::decoded;
use super::transport::{Request, Transport};

/// How long a list is used; a tag made by an editor is known after this time at the latest.
const TTL: Duration = Duration::from_secs(600);
/// Pages of 100 read per taxonomy. The 1,000 most used terms are more than a model should choose
/// from, and ten requests are what a small host can stand every ten minutes.
const PAGES_MAX: u32 = 10;

/// A taxonomy that core serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taxonomy {
    Tags,
    Categories,
}

impl Taxonomy {
    /// Its name in routes and in a post.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Categories => "categories",
        }
    }
}

#[derive(Deserialize)]
struct Term {
    id: u64,
    name: String,
}

/// The terms of one taxonomy as they were at one moment.
#[derive(Debug)]
pub(super) struct Terms {
    /// Names, most used first.
    pub(super) names: Vec<String>,
    ids: HashMap<String, u64>,
    read_at: Instant,
}

impl Terms {
    /// The ids of those of `names` that exist, without repeats. Case and spacing do not count.
    pub(super) fn ids_of(&self, names: &[String]) -> Vec<u64> {
        let mut ids = Vec::with_capacity(names.len());
        for id in names.iter().filter_map(|name| self.ids.get(&folded(name))) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }
}

/// Both lists, shared by the site's tasks. Two tasks that miss at once both read: the number in
/// flight is small, and a lock would be held across the requests.
#[derive(Debug, Default)]
pub(super) struct TermCache {
    tags: ArcSwapOption<Terms>,
    categories: ArcSwapOption<Terms>,
}

impl TermCache {
    fn slot(&self, taxonomy: Taxonomy) -> &ArcSwapOption<Terms> {
        match taxonomy {
            Taxonomy::Tags => &self.tags,
            Taxonomy::Categories => &self.categories,
        }
    }

    /// The terms, from the cache while they are fresh.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        taxonomy: Taxonomy,
        trace: Option<TraceContext>,
    ) -> Result<Arc<Terms>, Failure> {
        let fresh = self.slot(taxonomy).load_full().filter(|terms| terms.read_at.elapsed() < TTL);
        if let Some(terms) = fresh {
            return Ok(terms);
        }
        let terms = Arc::new(read(transport, taxonomy, trace).await?);
        self.slot(taxonomy).store(Some(Arc::clone(&terms)));
        Ok(terms)
    }

    /// Forgets a list that turned out to be wrong.
    pub(super) fn forget(&self, taxonomy: Taxonomy) {
        self.slot(taxonomy).store(None);
    }
}

async fn read(
    transport: &Transport,
    taxonomy: Taxonomy,
    trace: Option<TraceContext>,
) -> Result<Terms, Failure> {
    let route = format!("/wp/v2/{}", taxonomy.name());
    let mut terms = Terms { names: Vec::new(), ids: HashMap::new(), read_at: Instant::now() };
    for page in 1..=PAGES_MAX {
        let query = format!("per_page=100&page={page}&orderby=count&order=desc&_fields=id,name");
        let reply = transport.send(Request::get(&route, &query).traced(trace)).await?;
        for term in reply.parse::<Vec<Term>>()? {
            let name = decoded(&term.name).into_owned();
            terms.ids.entry(folded(&name)).or_insert(term.id);
            terms.names.push(name);
        }
        if page >= reply.pages {
            break;
        }
    }
    Ok(terms)
}

fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
