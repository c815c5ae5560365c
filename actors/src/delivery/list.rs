//! Which posts a site has: their numbers, by WordPress's own list.

use copydesk_core::failure::Failure;
use serde::Deserialize;

use super::client::SiteClient;
use super::transport::Request;

/// Posts of one page: the most that WordPress gives.
const PAGE: usize = 100;

/// Posts of a site that a filter names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostNumbers {
    /// Newest first.
    pub posts: Vec<u64>,
    /// How many there are in all, by the site's word; by whole pages.
    pub total: usize,
}

impl SiteClient {
    /// The numbers of the posts that these parameters of `GET /wp/v2/<rest_base>` name, newest
    /// first, at most `posts_max`. A post that leaves the list while it is read may hide another one.
    ///
    /// # Errors
    /// A [`Failure`] with its class; a parameter that WordPress does not know is terminal.
    pub async fn list_posts(
        &self,
        rest_base: &str,
        parameters: &str,
        posts_max: usize,
    ) -> Result<PostNumbers, Failure> {
        #[derive(Deserialize)]
        struct Listed {
            id: u64,
        }
        let route = format!("/wp/v2/{rest_base}");
        let mut found = PostNumbers::default();
        for page in 1.. {
            let query = format!("{parameters}&_fields=id&per_page={PAGE}&page={page}");
            let query = query.trim_start_matches('&');
            let reply = self.send(Request::get(&route, query)).await?;
            let listed: Vec<Listed> = reply.parse()?;
            let pages = usize::try_from(reply.pages).unwrap_or(usize::MAX);
            for post in &listed {
                if !found.posts.contains(&post.id) {
                    found.posts.push(post.id);
                }
            }
            found.total = found.posts.len().max(pages.saturating_sub(1).saturating_mul(PAGE));
            if listed.is_empty() || page >= pages || found.posts.len() >= posts_max {
                break;
            }
        }
        found.total = found.total.max(found.posts.len());
        found.posts.truncate(posts_max);
        Ok(found)
    }
}
