// COPYDESK_SITE=DIR [COPYDESK_SCREENSHOTS=DIR] node --test test.mjs: an editor's work with Copydesk's suggestions, in a
// real browser. COPYDESK_SITE is what scripts/wordpress/up has made, with the plugin and tests/wordpress/plugin/mu-plugins.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const [site, shots] = [process.env.COPYDESK_SITE, process.env.COPYDESK_SCREENSHOTS];
// Of tests/wordpress/plugin/mu-plugins/copydesk-receiver-sites.php.
const kinds = join(site, 'tmp/kinds.json');
const state = JSON.parse(readFileSync(join(site, 'state.json'), 'utf8'));
const evaluate = (...code) =>
	execFileSync(join(here, '../../../scripts/wordpress/eval'), [site, ...code], { encoding: 'utf8' });

const SUMMARY =
	'On Thursday the city council votes on a tram line from the main station to the harbour. It would open in 2031 ' +
	'and cost 412 million euros; the state pays two thirds.';
const BY_HAND = 'The council votes on Thursday.';

let posts, password, profile, browser, page;
const errors = [];

before(async () => {
	({ posts, password } = JSON.parse(evaluate(join(here, 'prepare.php'))));
	await write(posts.suggested, 1, [
		field('excerpt', SUMMARY, 'apply'),
		field('title', 'Harbour tram: council decides on Thursday', 'suggest'),
		field('tags', ['Harbour', 'City council', 'Transport'], 'apply'),
	]);
	await write(posts.enriched, 1, [field('excerpt', 'From May, buses run through the night again.', 'apply')]);
	await call('posts/statuses', {
		statuses: [
			{ id: posts.failed, sequence: 1, state: 'failed', cause: 'The AI service refused the key.', at: Date.now() },
			{ id: posts.filtered, sequence: 1, state: 'filtered', cause: '', at: Date.now() },
		],
	});
	profile = mkdtempSync(join(tmpdir(), 'copydesk-browser-'));
	browser = await chromium.launchPersistentContext(profile, {
		executablePath: '/usr/bin/chromium',
		headless: true,
		args: [
			'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
			'--disable-component-update', '--disable-sync',
			// Avatars and news are elsewhere: a name server that does not answer must not hold a page up.
			'--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
		],
		viewport: { width: 1280, height: 900 },
	});
	page = browser.pages()[0] ?? (await browser.newPage());
	page.setDefaultTimeout(60_000);
	page.on('pageerror', (error) => errors.push(`${page.url()}: ${error.message}`));
	await logIn('desk');
});

after(async () => {
	await browser?.close();
	if (profile) rmSync(profile, { recursive: true, force: true });
});

function field(name, value, mode) {
	return {
		field: name, value, mode, base_hash: null, enrichment: 'summary', model: 'gpt-4o-mini', prompt_version: 3,
	};
}

/** As Copydesk. */
async function call(route, body) {
	const answer = await fetch(`${state.rest_url}/copydesk/v1/${route}`, {
		method: 'POST',
		headers: {
			'Content-Type': 'application/json',
			Authorization: `Basic ${Buffer.from(`robot:${password}`).toString('base64')}`,
		},
		body: JSON.stringify(body),
	});
	assert.equal(answer.status, 200, await answer.clone().text());
	return answer.json();
}

function write(post, number, fields) {
	return call(`posts/${post}/apply`, {
		delivery_id: `browser-${post}-${number}`, log: '1', epoch: 0, write: number, sequence: number, input_hash: null, fields,
	});
}

/** What WordPress holds. */
function stored(post) {
	return JSON.parse(
		evaluate('-e', `$p = get_post(${post}); echo wp_json_encode([
			'title' => $p->post_title, 'excerpt' => $p->post_excerpt, 'tags' => wp_get_post_tags($p->ID, ['fields' => 'names'])]);`)
	);
}

async function shot(name, locator = page, options = {}) {
	if (shots) await locator.screenshot({ path: join(shots, `${name}.png`), ...options });
}

/** Neither the source as served nor the page as it stands may hold a secret. */
async function logIn(user) {
	await page.goto(`${state.url}/wp-login.php`);
	await page.fill('#user_login', user);
	await page.fill('#user_pass', state.users[user].password);
	const there = page.waitForURL('**/wp-admin/**', { waitUntil: 'domcontentloaded' });
	await Promise.all([there, page.click('#wp-submit')]);
}

async function assertNoSecret() {
	const served = await page.request.get(page.url());
	for (const text of [await served.text(), await page.content()]) {
		for (const secret of ['browser-test-secret-0123456789abcdef', password, password.replaceAll(' ', '')]) {
			assert.ok(!text.includes(secret), `a secret in the source of ${page.url()}`);
		}
	}
}

test('the posts list shows where each post stands', async () => {
	await page.goto(`${state.url}/wp-admin/edit.php`);
	const cell = (name) => page.locator(`#post-${posts[name]} .column-copydesk`);
	assert.match(await cell('waiting').innerText(), /Waiting/);
	assert.match(await cell('enriched').innerText(), /Enriched/);
	assert.match(await cell('suggested').innerText(), /2 suggestions/);
	assert.match(await cell('failed').innerText(), /Failed\s+The AI service refused the key\./);
	assert.match(await cell('filtered').innerText(), /—/);
	await assertNoSecret();
	await page.locator(`#post-${posts.suggested}`).hover();
	await shot('wordpress-posts-list');
	for (const name of ['waiting', 'enriched', 'suggested', 'failed']) {
		await page.selectOption('#copydesk_state', name);
		await Promise.all([page.waitForURL(`**copydesk_state=${name}**`), page.click('#post-query-submit')]);
		const rows = await page.locator('#the-list tr[id^=post-]').evaluateAll((found) => found.map((row) => row.id));
		assert.deepEqual(rows, [`post-${posts[name]}`], name);
	}
});

test('"Enrich again" puts the post on its way once more', async () => {
	await page.goto(`${state.url}/wp-admin/edit.php`);
	const row = page.locator(`#post-${posts.enriched}`);
	await row.hover();
	await row.getByRole('link', { name: /^Enrich .* again$/ }).click();
	await page.getByText('The post goes to Copydesk once more.').waitFor();
	assert.match(await row.locator('.column-copydesk').innerText(), /Waiting/);
});

test('the block editor: accept, see it in the excerpt, undo', async () => {
	await page.goto(`${state.url}/wp-admin/post.php?post=${posts.suggested}&action=edit`);
	const toggle = page.getByRole('button', { name: /Copydesk: 2 suggestions/ });
	await toggle.waitFor();
	if ((await toggle.getAttribute('aria-expanded')) === 'false') await toggle.click();
	const panel = page.locator('.copydesk-panel');
	const card = panel.locator('.copydesk-card[data-field=excerpt]');
	await card.getByText('A person wrote this field').waitFor();
	await card.scrollIntoViewIfNeeded();
	await assertNoSecret();
	await shot('wordpress-block-editor');

	const excerpt = () => page.evaluate(() => window.wp.data.select('core/editor').getEditedPostAttribute('excerpt'));
	const dirty = () => page.evaluate(() => window.wp.data.select('core/editor').isEditedPostDirty());
	assert.equal(await excerpt(), BY_HAND);
	await card.getByRole('button', { name: 'Accept' }).click();
	await panel.getByRole('button', { name: 'Undo: Excerpt' }).waitFor();
	assert.equal(await excerpt(), SUMMARY, 'the form has it too');
	assert.equal(await dirty(), false, 'and there is nothing to save');
	assert.equal(stored(posts.suggested).excerpt, SUMMARY);
	await page.getByRole('button', { name: 'Copydesk: 1 suggestion' }).waitFor();

	const history = panel.locator('.copydesk-written[data-field=excerpt]').first();
	await history.locator('summary').click();
	await history.getByText('approved by desk').waitFor();
	await history.scrollIntoViewIfNeeded();
	await shot('wordpress-history', panel);

	await panel.getByRole('button', { name: 'Undo: Excerpt' }).click();
	await panel.getByText('undone by desk').waitFor();
	assert.equal(await excerpt(), BY_HAND);
	assert.equal(await dirty(), false);
	assert.equal(stored(posts.suggested).excerpt, BY_HAND);

	await panel.getByRole('button', { name: 'Undo: Tags' }).click();
	await panel.getByRole('button', { name: 'Undo: Tags' }).waitFor({ state: 'detached' });
	assert.deepEqual(stored(posts.suggested).tags, []);
});

test('the block editor: an edited suggestion, and one that is dismissed', async () => {
	await write(posts.suggested, 2, [field('excerpt', 'Nearly the right words.', 'suggest')]);
	await page.reload();
	const toggle = page.getByRole('button', { name: /Copydesk: 2 suggestions/ });
	await toggle.waitFor();
	if ((await toggle.getAttribute('aria-expanded')) === 'false') await toggle.click();
	const panel = page.locator('.copydesk-panel');
	const card = panel.locator('.copydesk-card[data-field=excerpt]');
	await card.getByRole('button', { name: 'Edit' }).click();
	await card.getByRole('textbox').fill('&lt;script&gt;alert(1)&lt;/script&gt;');
	await card.getByRole('button', { name: 'Accept my version' }).click();
	await panel.getByText(/hidden markup/).first().waitFor();
	await panel.locator('.copydesk-card[data-field=excerpt]').getByRole('textbox').fill('Exactly the right words.');
	await card.getByRole('button', { name: 'Accept my version' }).click();
	await card.waitFor({ state: 'detached' });
	assert.equal(stored(posts.suggested).excerpt, 'Exactly the right words.');
	const title = panel.locator('.copydesk-card[data-field=title]');
	await title.getByRole('button', { name: 'Dismiss' }).click();
	await panel.getByText('No suggestions are waiting.').waitFor();
	assert.equal(stored(posts.suggested).title, 'Council votes on the new harbour line');
});

test('the classic editor: accept, update, undo', async () => {
	await write(posts.suggested, 3, [field('excerpt', SUMMARY, 'suggest'), field('tags', ['Transport'], 'suggest')]);
	writeFileSync(kinds, '["classic"]');
	await page.goto(`${state.url}/wp-admin/post.php?post=${posts.suggested}&action=edit`);
	const box = page.locator('#copydesk-classic');
	await box.getByRole('heading', { name: 'Copydesk: 2 suggestions' }).waitFor();
	assert.equal(await page.locator('.postbox:has(#copydesk-classic)').count(), 0, 'no meta box');
	await assertNoSecret();
	await shot('wordpress-classic-editor');
	await box.locator('.copydesk-card[data-field=excerpt]').getByRole('button', { name: 'Accept' }).click();
	await box.getByRole('button', { name: 'Undo: Excerpt' }).waitFor();
	await box.locator('.copydesk-card[data-field=tags]').getByRole('button', { name: 'Accept' }).click();
	await box.getByText('No suggestions are waiting.').waitFor();
	assert.equal(await page.locator('#excerpt').inputValue(), SUMMARY);
	assert.match(await page.locator('#post_tag .tagchecklist').innerText(), /Transport/);

	// The form sends everything it holds: what was accepted must be in it.
	await Promise.all([page.waitForURL('**message=**'), page.click('#publish')]);
	assert.deepEqual(stored(posts.suggested), {
		title: 'Council votes on the new harbour line', excerpt: SUMMARY, tags: ['Transport'],
	});
	await box.getByRole('button', { name: 'Undo: Excerpt' }).first().click();
	await page.waitForFunction(() => document.querySelector('#excerpt').value === 'Exactly the right words.');
	assert.equal(stored(posts.suggested).excerpt, 'Exactly the right words.');
	writeFileSync(kinds, '[]');
});

test('the settings page holds no secret', async () => {
	await browser.clearCookies();
	await logIn('admin');
	await page.goto(`${state.url}/wp-admin/options-general.php?page=copydesk`);
	await page.getByRole('heading', { name: 'Copydesk' }).first().waitFor();
	await assertNoSecret();
	await shot('wordpress-settings', page, { fullPage: true });
});

test('no script of a page has failed', () => {
	assert.deepEqual(errors, []);
});
