//go:build interop

package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marionette drives a Mozilla program: commands are "length:[0,id,name,params]".
type marionette struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
	id int
}

func (m *marionette) read() json.RawMessage {
	m.t.Helper()
	size, err := m.in.ReadString(':')
	if err != nil {
		m.t.Fatalf("Thunderbird is gone: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	if err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.in, b); err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (m *marionette) do(name string, params any) json.RawMessage {
	m.t.Helper()
	m.id++
	b, err := json.Marshal([]any{0, m.id, name, params})
	if err != nil {
		m.t.Fatal(err)
	}
	_ = m.c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(m.c, "%d:%s", len(b), b); err != nil {
		m.t.Fatal(err)
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(m.read(), &answer); err != nil {
		m.t.Fatal(err)
	}
	if string(answer[2]) != "null" {
		m.t.Fatalf("%s: %s", name, answer[2])
	}
	return answer[3]
}

// js runs a script with the rights of the program and returns what it returns.
func (m *marionette) js(script string, args ...any) string {
	m.t.Helper()
	const around = `let done = arguments[arguments.length - 1], args = arguments;
		const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
		const w = Services.wm.getMostRecentWindow("mail:3pane");
		const until = async (what, fn) => { for (let i = 0; i < 250; i++) { let r = await fn(); if (r) return r; await new Promise(r => w.setTimeout(r, 100)); } throw new Error("no " + what); };
		(async () => { %s })().then(r => done(r === undefined ? null : r), e => done("ERROR " + e));`
	if args == nil {
		args = []any{}
	}
	out := string(m.do("WebDriver:ExecuteAsyncScript", map[string]any{"script": fmt.Sprintf(around, script), "args": args}))
	if strings.Contains(out, `"ERROR `) {
		m.t.Fatalf("Thunderbird: %s", out)
	}
	return out
}

const thunderbirdPrefs = `user_pref("marionette.port", %d);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("app.donation.eoy.version.viewed", 999);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("mail.accounthub.enabled", false);
user_pref("network.dns.disablePrefetch", true);
user_pref("mail.inappnotifications.enabled", false);
`

// startThunderbird runs it on a screen of its own, and skips where either is missing.
func startThunderbird(t *testing.T) *marionette {
	t.Helper()
	bin, xvfb := need(t, "thunderbird", "thunderbird"), need(t, "Xvfb", "xvfb")
	home := t.TempDir()
	at := freePort(t)
	write(t, filepath.Join(home, "profile", "user.js"), fmt.Sprintf(thunderbirdPrefs, portOf(t, at)))
	ctx, cancel := context.WithCancel(context.Background())
	start := func(out io.Writer, name string, env []string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		if err := cmd.Start(); err != nil {
			cancel()
			t.Fatal(err)
		}
		return cmd
	}
	screen, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	x := start(said, xvfb, nil, "-displayfd", "1", "-screen", "0", "1200x900x24", "-nolisten", "tcp")
	said.Close()
	number, err := bufio.NewReader(screen).ReadString('\n')
	if err != nil {
		t.Fatalf("Xvfb: %v", err)
	}
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	tb := start(log, bin, []string{"HOME=" + home, "DISPLAY=:" + strings.TrimSpace(number)},
		"--marionette", "--remote-allow-system-access", "--no-remote", "--profile", filepath.Join(home, "profile"))
	t.Cleanup(func() { cancel(); _ = tb.Wait(); _ = x.Wait() })
	m := &marionette{t: t}
	persist(t, "Thunderbird", func() (err error) {
		m.c, err = net.Dial("tcp", at)
		return err
	})
	t.Cleanup(func() { m.c.Close() })
	m.in = bufio.NewReader(m.c)
	m.read() // it says what it is
	m.do("WebDriver:NewSession", map[string]any{"capabilities": map[string]any{}})
	m.do("Marionette:SetContext", map[string]any{"value": "chrome"})
	m.do("WebDriver:SetTimeouts", map[string]any{"script": 50000})
	return m
}

// account makes an account with a login that reads test.a.
func (m *marionette) account(p *tap) {
	m.t.Helper()
	m.js(`let srv = MailServices.accounts.createIncomingServer("otto", args[0], "nntp");
		srv.port = args[1];
		let acc = MailServices.accounts.createAccount(); acc.incomingServer = srv;
		let id = MailServices.accounts.createIdentity(); id.email = "otto@mesh.example"; id.fullName = "Otto"; id.doFcc = false; acc.addIdentity(id);
		srv.QueryInterface(Ci.nsINntpIncomingServer).subscribeToNewsgroup("test.a");
		let at = srv.rootFolder.subFolders[0].QueryInterface(Ci.nsIMsgNewsFolder).urlForSignon;
		let saved = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
		saved.init(at, null, at, "anna", "secretword", "", "");
		await Services.logins.addLoginAsync(saved);`, p.host, portOf(m.t, p.addr))
}

const newsFolder = `let srv = MailServices.accounts.findServer("otto", args[0], "nntp"), folder = srv.rootFolder.subFolders[0];`

// TestThunderbird: an account with a login, a group opened, an article read in the
// window, a search, and a post from the composer.
func TestThunderbird(t *testing.T) {
	n, p := library(t, "read")
	login(t, n)
	m := startThunderbird(t)
	m.account(p)
	read := m.js(newsFolder+`let about = w.document.getElementById("tabmail").currentAbout3Pane;
		about.displayFolder(folder.URI);
		await until("three lines", () => about.gDBView && about.gDBView.rowCount >= 3);
		let out = [];
		for (let i = 0; i < 3; i++) out.push(about.gDBView.getMsgHdrAt(i).mime2DecodedSubject);
		about.threadTree.selectedIndex = out.indexOf("article 2");
		let pane = about.messageBrowser.contentWindow.getMessagePaneBrowser();
		out.push(await until("text", () => { let b = pane.contentDocument && pane.contentDocument.body; return b && b.textContent.includes("hello 2") && b.textContent; }));
		return out;`, p.host)
	has(t, "what Thunderbird shows", read, "article 1", "article 2", "article 3", `hello 2\n.dot`, "Anna")
	found := m.js(newsFolder+`let s = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
		let term = s.createTerm(), v = term.value;
		v.attrib = term.attrib = Ci.nsMsgSearchAttrib.Subject; v.str = "ARTICLE 2"; term.value = v;
		term.op = Ci.nsMsgSearchOp.Contains; s.appendTerm(term);
		s.addScopeTerm(Ci.nsMsgSearchScope.news, folder);
		let hits = [];
		await new Promise(end => { s.registerListener({ onSearchHit(h) { hits.push(h.mime2DecodedSubject); }, onSearchDone: end, onNewSearch() {} }, Ci.nsIMsgSearchSession.allNotifications); s.search(null); });
		return hits;`, p.host)
	has(t, "what Thunderbird finds", found, `["article 2"]`)
	m.js(newsFolder+`let params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
		let f = params.composeFields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
		f.newsgroups = "test.a"; f.subject = "from Thunderbird"; f.body = "hello\n.dot\n";
		params.format = Ci.nsIMsgCompFormat.PlainText; params.type = Ci.nsIMsgCompType.New;
		params.identity = MailServices.accounts.getFirstIdentityForServer(srv);
		MailServices.compose.OpenComposeWindowWithParams(null, params);
		let c = await until("composer", () => { let c = Services.wm.getMostRecentWindow("msgcompose"); return c && c.composeEditorReady && c; });
		let sent = new Promise(end => c.gMsgCompose.addMsgSendListener({ QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]), onStartSending() {}, onSendProgress() {}, onProgress() {}, onStatus() {},
			onStopSending(id, status) { end(status); }, onGetDraftFolderURI() {}, onSendNotPerformed() { end(-1); }, onTransportSecurityError() {} }));
		c.goDoCommand("cmd_sendNow");
		let status = await sent;
		if (status) throw new Error("sending ends with " + status);`, p.host)
	has(t, "node", subjects(t, n), "from Thunderbird")
	p.saw(t, "> MODE READER", "< 200 ", "> GROUP test.a", "< 211 3 1 3 test.a", "> XOVER 1-3", "< 224 ", "< 3\tarticle 3\t", "> ARTICLE 2", "< 220 2 <2@mesh.example>",
		"> XPAT SUBJECT  1- *[Aa]", "< 221 ", "< 2 article 2", "< .", "> POST", "< 480 ", "> AUTHINFO user anna", "< 381 ", "> AUTHINFO pass secretword", "< 281 ", "> POST", "< 340 ", "> ..dot", "< 240 ")
}

// TestThunderbirdDetached: of an article whose attachment was detached the window
// shows the text with the web address, whole and as a link.
func TestThunderbirdDetached(t *testing.T) {
	n, p := library(t, "read")
	login(t, n)
	file := filepath.Join(n.Dir, "large")
	write(t, file, "From: Anna <anna@mesh.example>\nNewsgroups: test.a\nSubject: with a file\nMessage-ID: <4@mesh.example>\nMIME-Version: 1.0\n"+
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=UTF-8\n\nhello\n--b\n"+
		"Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"large file.bin\"\n\n"+strings.Repeat("some line of the file\n", 20000)+"--b--\n")
	if _, err := n.Run("post", file); err != nil {
		t.Fatal(err)
	}
	m := startThunderbird(t)
	m.account(p)
	shown := m.js(newsFolder+`let about = w.document.getElementById("tabmail").currentAbout3Pane;
		about.displayFolder(folder.URI);
		await until("four lines", () => about.gDBView && about.gDBView.rowCount >= 4);
		for (let i = 0; i < 4; i++) if (about.gDBView.getMsgHdrAt(i).mime2DecodedSubject == "with a file") about.threadTree.selectedIndex = i;
		let message = about.messageBrowser.contentWindow;
		let page = await until("text", () => { let d = message.getMessagePaneBrowser().contentDocument; return d && d.body && d.body.textContent.includes("Magnet:") && d; });
		return [page.body.textContent, ...Array.from(page.links, l => "link " + l.href)];`, p.host)
	has(t, "what Thunderbird shows", shown, "hello", "-- detached attachment 1 of 1 --", "Name:   large file.bin", "Magnet: <magnet:?xt=urn:btih:")
	if !regexp.MustCompile(`"link http://[^"]+/t/[0-9a-f]{40}/large%20file\.bin"`).MatchString(shown) {
		t.Fatalf("Thunderbird makes no link of the web address: %s", shown)
	}
}
