// SPDX-License-Identifier: Apache-2.0
// Opens the admin page in headless Chromium: `node page.mjs CHECK URL PICTURES [ARGUMENT]`. Each check
// throws or ends well; test_page.py starts what is looked at. In all of them the console stays empty and
// nothing is asked of anywhere else.
import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';

const [check, url, pictures, argument] = process.argv.slice(2);
const PATIENCE = 20000 * Number(process.env.SUMCACHE_TEST_SLOWNESS || 1);
const complaints = [];

async function open(browser, options = {}, prepare = async () => {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, ...options});
  const page = await context.newPage();
  await prepare(page);
  page.setDefaultTimeout(PATIENCE);
  page.on('console', message => complaints.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('dialog', dialog => { complaints.push('dialog: ' + dialog.message()); dialog.dismiss(); });
  page.on('request', request => {
    if (!request.url().startsWith(url))
      complaints.push('asked of elsewhere: ' + request.url());
  });
  await page.goto(url);
  await page.getByText(/^ready, up for/).waitFor();
  return page;
}

const text = (page, selector) => page.locator(selector).innerText();
const picture = (page, name) => page.screenshot({path: `${pictures}/${name}.png`, fullPage: true});
const background = page => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const asked = (page, path) => page.waitForResponse(r => r.url() === url + path && r.status() === 200);
const until = (page, selector, pattern) => page.locator(selector).filter({hasText: pattern}).first().waitFor();

const CHECKS = {
  async shows(browser) {
    const page = await open(browser);
    await until(page, '#sum-in-ring', '3');
    await until(page, '#sum-requests', /[1-9]/);
    await until(page, '#sum-memory', /iB.*of .*iB/s);
    assert.equal(await page.locator('#nodes tbody tr').count(), 3);
    assert.equal(await page.locator('#ring path').count(), 3);
    assert.equal(await page.locator('#charts canvas').count(), 4);
    assert.equal(await page.locator('#no-charts').isVisible(), false);
    /* Something has been drawn, and goes on being drawn. */
    const drawn = () => page.evaluate(() => Chart.getChart(document.querySelector('#charts canvas')).data.datasets[0].data.length);
    await page.waitForFunction(() => Chart.getChart(document.querySelector('#charts canvas')).data.datasets[0].data.length > 0);
    const before = await drawn();
    await page.waitForFunction(n => Chart.getChart(document.querySelector('#charts canvas')).data.datasets[0].data.length > n, before);
    await until(page, '#hot', /popular/);
    await until(page, '#prefixes', /user:/);
    await until(page, '#slow', /EVAL/i);
    /* Sorting: by share, the other way round, and it says so. */
    const share = page.getByRole('button', {name: 'Share'});
    await share.click();
    await share.click();
    const header = page.locator('#nodes th').filter({hasText: 'Share'});
    assert.equal(await header.getAttribute('aria-sort'), 'descending');
    const shares = (await page.locator('#nodes tbody tr td:nth-child(4)').allInnerTexts()).map(parseFloat);
    assert.deepEqual(shares, shares.slice().sort((a, b) => b - a));
    await picture(page, 'page');
  },

  /* test_page.py kills the node (argument) when it reads "seen", and brings it back after "out". */
  async follows(browser) {
    const page = await open(browser), row = page.locator(`#nodes tr[data-node="${argument}"]`);
    await row.filter({hasText: 'up'}).waitFor();
    console.log('seen');
    await row.filter({hasText: 'out'}).waitFor();
    await until(page, '#sum-in-ring', /2.*1 out/s);
    await until(page, '#events li', new RegExp(`${argument}: .* → out`));
    assert.equal(await page.locator('#timeline rect.fill-out').count(), 1);
    await picture(page, 'node-out');
    console.log('out');
    await row.filter({hasText: 'up'}).waitFor();
    await until(page, '#sum-in-ring', /3.*0 out/s);
    await until(page, '#events li', new RegExp(`${argument}: .* → up`));
    await picture(page, 'node-back');
  },

  async where(browser) {
    const page = await open(browser);
    await page.keyboard.press('/');
    await page.keyboard.type('user:7 é');
    await page.keyboard.press('Enter');
    await until(page, '#where-answer', /^user:7 é is at \S+ \(up\), slot \d+\.$/);
    const api = await page.evaluate(async () => (await fetch('/api/where?key=' + encodeURIComponent('user:7 é'))).json());
    assert.ok((await text(page, '#where-answer')).includes(`at ${api.node} (${api.state}), slot ${api.slot}`));
    /* In the box these are letters as all are. */
    const before = await background(page);
    await page.locator('#where-key').fill('');
    await page.keyboard.type('t/t');
    assert.equal(await page.locator('#where-key').inputValue(), 't/t');
    assert.equal(await background(page), before);
  },

  /* Keys that are markup, and one that would turn the text around, are text. */
  async survives(browser) {
    const page = await open(browser);
    await until(page, '#hot', /<img src=x onerror=/);
    await until(page, '#hot', /\\u202e/);
    for (const name of [/<img src=x onerror=/, /<script>/, /"><b onclick=/, /a\\u202eb/])
      await until(page, '#slow td.key', name);
    assert.equal(await page.locator('img, iframe, #hot script, #hot b, #slow script, #slow b').count(), 0);
    await page.locator('#where-key').fill('<img src=x onerror=alert(1)>');
    await page.getByRole('button', {name: 'Find'}).click();
    await until(page, '#where-answer', /<img src=x onerror=alert\(1\)> is at/);
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(await page.evaluate(() => window.stolen), undefined);
  },

  /* Key and bytes of a slow request. */
  async slow(browser) {
    const page = await open(browser), head = await page.locator('#slow th').allInnerTexts();
    const row = page.locator('#slow tbody tr').filter({hasText: 'several:1'}).first();
    await row.waitFor();
    const cells = Object.fromEntries((await row.locator('td').allInnerTexts()).map((cell, i) => [head[i], cell]));
    assert.equal(cells.Command, 'eval');
    assert.equal(cells.Key, 'several:1 and 2 more');
    assert.match(cells.In, /^\d+ B$/);
    const cut = page.locator('#slow td.key').filter({hasText: /^l{64}… \(1\.0 KiB\)$/}).first();
    await cut.waitFor();
    assert.match(await cut.getAttribute('title'), /^l{64}…/);
    await picture(page, 'slow');
  },

  /* `argument` is the token. The browser asks for it; the page has no part in it, and never sees it. */
  async token(browser) {
    for (const password of [undefined, '', 'wrong', argument + 'x']) {
      const httpCredentials = password === undefined ? undefined : {username: argument, password};
      const page = await (await browser.newContext({httpCredentials})).newPage(), answer = page.waitForEvent('response');
      /* Told nothing by whoever it asked it gives up; told something wrong it shows what we say. */
      const shown = await page.goto(url).then(async () => (await text(page, 'body')).trim(), error => error.message);
      assert.match(shown, password ? /^the token is missing or wrong$/ : /ERR_INVALID_AUTH_CREDENTIALS|^the token is missing or wrong$/);
      assert.equal((await answer).status(), 401);
      assert.equal((await answer).headers()['www-authenticate'], 'Basic realm="sumcache: the token is the password"');
      await page.close();
    }
    const urls = [], page = await open(browser, {httpCredentials: {username: 'ana', password: argument}},
      async p => { p.on('request', request => urls.push(request.url())); });
    await until(page, '#sum-in-ring', '3');
    for (let i = 0; i < 3; i++)
      await asked(page, 'api/summary');
    await until(page, '#hot', /popular/);
    await page.reload();
    await page.getByText(/^ready, up for/).waitFor();
    const kept = await page.evaluate(() => JSON.stringify([document.documentElement.outerHTML, {...localStorage}, {...sessionStorage},
      document.cookie, window.name, location.href, history.state, performance.getEntries().map(e => e.name)]));
    assert.ok(!kept.includes(argument) && !kept.includes(btoa('ana:' + argument)));
    assert.deepEqual(urls.filter(u => u.includes(argument) || u.includes('ana')), []);
    assert.deepEqual(await page.context().cookies(), []);
    /* It is refused from now on: that is said, and the page goes on once it is not. */
    assert.deepEqual(complaints, []);
    await page.route(url + 'api/summary', route => route.fulfill({status: 401, body: 'the token is missing or wrong\n'}));
    await page.getByText('cannot be asked: 401 the token is missing or wrong').waitFor();
    await page.unroute(url + 'api/summary');
    await page.getByText(/^ready, up for/).waitFor();
    assert.deepEqual(complaints.filter(c => !c.includes('401')), []);
    complaints.length = 0;
  },

  /* `argument` is what a build without Chart.js has in its place. */
  async chartless(browser) {
    const page = await open(browser, {}, p => p.route(url + 'chart.js', route =>
      route.fulfill({contentType: 'text/javascript; charset=utf-8', body: argument})));
    await page.getByText('This build has no chart library: install libjs-chart.js and build anew.').waitFor();
    assert.equal(await page.locator('#charts canvas').count(), 0);
    await until(page, '#sum-in-ring', '3');
    await until(page, '#sum-requests', /[1-9]/);
    assert.equal(await page.locator('#nodes tbody tr').count(), 3);
    assert.equal(await page.locator('#ring path').count(), 3);
    await until(page, '#hot', /popular/);
    await until(page, '#slow', /eval/);
    for (let i = 0; i < 2; i++)
      await asked(page, 'api/summary');
    const before = await background(page);
    await page.keyboard.press('t');
    assert.notEqual(await background(page), before);
    await page.keyboard.press('/');
    await page.keyboard.type('user:7');
    await page.keyboard.press('Enter');
    await until(page, '#where-answer', /^user:7 is at /);
    await picture(page, 'without-charts');
  },

  async themes(browser) {
    const light = await open(browser, {colorScheme: 'light'}), dark = await open(browser, {colorScheme: 'dark'});
    const [day, night] = [await background(light), await background(dark)];
    assert.notEqual(day, night);
    await picture(dark, 'dark');
    await light.getByRole('button', {name: /^Theme/}).click();
    assert.equal(await background(light), night);
    await light.reload();
    await light.getByText('Theme: dark').waitFor();
    assert.equal(await background(light), night);
    await light.keyboard.press('t');
    assert.equal(await background(light), day);
  },

  async narrow(browser) {
    const page = await open(browser, {viewport: {width: 360, height: 740}, isMobile: true, hasTouch: true, deviceScaleFactor: 2});
    await until(page, '#sum-in-ring', '3');
    await until(page, '#hot', /./);
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.deepEqual(widths, [360, 360]);
    await picture(page, 'phone');
  },

  async keyboard(browser) {
    const page = await open(browser), seen = [];
    for (let i = 0; i < 24; i++) {
      await page.keyboard.press('Tab');
      seen.push(await page.evaluate(() => {
        const e = document.activeElement;
        return e.id || e.dataset.member || e.className || e.tagName;
      }));
    }
    /* In the order of the page; columns of the table are buttons. */
    const order = ['skip', 'theme', 'where-key', 'BUTTON', 'wide', 'name', 'state', 'since_ms', 'share'];
    assert.deepEqual(seen.slice(0, order.length), order);
    await page.getByRole('button', {name: 'Memory'}).focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('#nodes th').filter({hasText: 'Memory'}).getAttribute('aria-sort'), 'ascending');
    /* Everything that can be used or is a picture has a name. */
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, section, meter, svg, canvas, [tabindex="0"]')]
      .filter(e => !(e.textContent.trim() && e.tagName === 'BUTTON') && !e.getAttribute('aria-label') && !(e.labels && e.labels.length) &&
        !document.getElementById(e.getAttribute('aria-labelledby'))).map(e => e.outerHTML.slice(0, 80)));
    assert.deepEqual(nameless, []);
  },
};

const browser = await chromium.launch({executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--disable-gpu', '--disable-dev-shm-usage', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])]});
try {
  await CHECKS[check](browser);
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
