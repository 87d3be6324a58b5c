package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/peer"
	"github.com/litfass/litfass/internal/tlsid"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/pki/directory"
	"github.com/litfass/litfass/smtpd/letters"
)

// config is the whole configuration file. Each room has a section; a key is a
// field with its name (toml), its meaning (doc), and its default in defaults.
// "config print" and the reference in docs are made from these.
type config struct {
	Host      string           `toml:"host" doc:"path identity and Message-ID domain; default: made once from machine name and a random part, never shared by two nodes" example:"box7.mesh.example" reload:"no"`
	Data      string           `toml:"data" doc:"the data folder; one process at a time holds it" reload:"no"`
	Log       string           `toml:"log" doc:"debug | info | warn | error: what is logged" oneof:"debug info warn error"`
	NNTP      nntpSection      `toml:"nntp" doc:"newsreaders and peers"`
	SMTP      smtpSection      `toml:"smtp" doc:"mail to groups and from them"`
	HTTP      httpSection      `toml:"http" doc:"forum, feeds, tracker, /metrics, /healthz"`
	Guests    guestsSection    `toml:"guests" doc:"who has not logged in, at every door"`
	Feeds     feedsSection     `toml:"feeds" doc:"RSS, Atom and JSON feeds that become articles" reload:"no"`
	Torrent   torrentSection   `toml:"torrent" doc:"attachments as torrents" reload:"no"`
	Tracker   trackerSection   `toml:"tracker" doc:"the BitTorrent tracker and its kin in the mesh" reload:"no"`
	Discovery discoverySection `toml:"discovery" doc:"nodes on the same link find each other" reload:"no"`
	PKI       pkiSection       `toml:"pki" doc:"signatures and rights"`
	Spool     spoolSection     `toml:"spool" doc:"where articles lie and how long"`
	Limits    limitsSection    `toml:"limits" doc:"of posters and peers; who is over one is told to try later"`
	Peer      []peerSection    `toml:"peer" doc:"a neighbour; may stand here or be added while running (the file wins)"`

	file string // where it was read from, or ""
}

type nntpSection struct {
	Listen        []string `toml:"listen" doc:"addresses for readers and peers" reload:"no"`
	Anonymous     string   `toml:"anonymous" doc:"none | read | post: what a client may do without logging in" oneof:"none read post"`
	Trusted       []string `toml:"trusted" doc:"clients to whom anonymous applies; others must log in" kind:"prefix"`
	MaxArticle    size     `toml:"max_article" doc:"as stored and relayed" reload:"no"`
	MaxPost       size     `toml:"max_post" doc:"a POST before its attachments are detached; smtp and web alike" reload:"no"`
	Motd          string   `toml:"motd" doc:"what LIST MOTD says, or file:PATH; empty: there is none"`
	Subscriptions []string `toml:"subscriptions" doc:"groups that newsreaders propose to newcomers, in this order"`
	Distributions []string `toml:"distributions" doc:"what LIST DISTRIBUTIONS says: \"local only this box\""`
	DistribPats   []string `toml:"distrib_pats" doc:"what LIST DISTRIB.PATS says: \"10:local.*:local\""`
	Moderators    []string `toml:"moderators" doc:"what LIST MODERATORS says: \"gnu.*:%s@gnu.example\"; here posts wait for moderators without it"`

	TLS tlsSection `toml:"tls" doc:"the certificate of every door"`
}

type tlsSection struct {
	Cert   string   `toml:"cert" doc:"certificate chain, a PEM file; empty: the node's own, for implicit TLS and pinned peers" kind:"path"`
	Key    string   `toml:"key" doc:"its key, a PEM file" kind:"path"`
	Listen []string `toml:"listen" doc:"addresses for implicit TLS; usual: 127.0.0.1:1563" reload:"no"`

	ACME acmeSection `toml:"acme" doc:"a certificate by ACME (RFC 8555), asked for and renewed by itself; instead of cert and key" reload:"no"`
}

// webTLSSection opens the browser's door with TLS.
type webTLSSection struct {
	Listen []string `toml:"listen" doc:"addresses for https, with the certificate of nntp.tls; usual: :443; set url too" reload:"no"`
}

type smtpSection struct {
	Listen     []string `toml:"listen" doc:"addresses for mail from outside" reload:"no"`
	Submission []string `toml:"submission" doc:"addresses for mail of accounts; usual: 127.0.0.1:2587" reload:"no"`
	LMTP       []string `toml:"lmtp" doc:"addresses for a mail server in front that speaks LMTP" reload:"no"`
	Domain     string   `toml:"domain" doc:"group@domain posts to group; default: host" example:"box7.mesh.example" reload:"no"`
	Smarthost  string   `toml:"smarthost" doc:"mail leaves through it: host:port, or mx for direct delivery; empty: mail leaves to nobody" reload:"no"`
	User       string   `toml:"user" doc:"the login at the smarthost" reload:"no"`
	Password   string   `toml:"password" doc:"its password, or file:PATH" reload:"no"`
	DKIM       string   `toml:"dkim" doc:"private key that signs mail, a PEM file (RSA, Ed25519, or both: then RSA signs once a letter); empty: unsigned" kind:"path" reload:"no"`
	Language   string   `toml:"language" doc:"of the node's own mails to people whose language it does not know: en, de; empty: all of them" reload:"no"`
	Selector   string   `toml:"selector" doc:"where its public half stands: SELECTOR._domainkey.DOMAIN" reload:"no"`
	Anonymous  string   `toml:"anonymous" doc:"none | confirm | post: mail to a group from a sender without account" oneof:"none confirm post"`
	Trusted    []string `toml:"trusted" doc:"hosts to whom that applies, others are asked to confirm; not a mail server in front" kind:"prefix"`
	Front      []string `toml:"front" doc:"mail servers in front: judged is the sender, not the host" kind:"prefix"`
}

type httpSection struct {
	Listen    []string `toml:"listen" doc:"addresses for browsers and feed readers" reload:"no"`
	URL       string   `toml:"url" doc:"as readers see it" reload:"no"`
	Anonymous string   `toml:"anonymous" doc:"none | read | post: what a guest may do" oneof:"none read post"`
	Trusted   []string `toml:"trusted" doc:"these guests need no captcha, are not slowed down, and may see /metrics" kind:"prefix"`
	Proxies   []string `toml:"proxies" doc:"reverse proxies whose address header counts" kind:"prefix"`

	TLS webTLSSection `toml:"tls" doc:"https without a reverse proxy"`
}

type guestsSection struct {
	Read string `toml:"read" doc:"wildmat of the groups they see where anonymous lets them read; the others are for accounts: \"*,!club.*\""`
	Post string `toml:"post" doc:"wildmat of the groups they post to where anonymous lets them"`
}

type torrentSection struct {
	Listen    string   `toml:"listen" doc:"BitTorrent, TCP; empty: no peers are taken"`
	Tracker   string   `toml:"tracker" doc:"UDP tracker; usual: 127.0.0.1:6969; empty: off"`
	Threshold size     `toml:"threshold" doc:"larger attachments are detached"`
	Quota     size     `toml:"quota" doc:"room for the pieces"`
	Up        size     `toml:"up" doc:"octets a second to peers"`
	Down      size     `toml:"down" doc:"octets a second from peers"`
	MaxSize   size     `toml:"max_size" doc:"of one torrent"`
	MaxAuto   size     `toml:"max_auto" doc:"of one that a group's policy fetches unasked"`
	Trackers  []string `toml:"trackers" doc:"announce addresses of the mesh's other trackers"`
	LSD       string   `toml:"lsd" doc:"network interface on which neighbours are found by multicast (BEP 14); empty: off"`
}

// trackerSection is about keeping in step with other trackers.
type trackerSection struct {
	Livesync       string   `toml:"livesync" doc:"network interface for opentracker's multicast; empty: off"`
	LivesyncListen string   `toml:"livesync_listen" doc:"UDP address for the same by unicast; usual: :9696"`
	LivesyncTo     []string `toml:"livesync_to" doc:"trackers that are told by unicast: 10.0.0.2:9696"`
	LivesyncFrom   []string `toml:"livesync_from" doc:"trackers that are believed" kind:"prefix"`
	LivesyncLayout string   `toml:"livesync_layout" doc:"v4 | v6: as the opentrackers here were built" oneof:"v4 v6"`
	LivesyncTTL    int      `toml:"livesync_ttl" doc:"hops of the multicast"`
	Mesh           []string `toml:"mesh" doc:"peers outside are not taken over from other trackers" kind:"prefix"`
}

type pkiSection struct {
	Require string `toml:"require" doc:"none | known: what an unsigned article meets; groups may be stricter" oneof:"none known"`
	LeftOut string `toml:"left_out" doc:"mark | remove: what becomes of groups that a checkgroups by somebody with the right does not name" oneof:"mark remove"`
	Prefix  string `toml:"prefix" doc:"PREFIX.admin.pki.* carry statements; made by the node, status n" reload:"no"`
}

type spoolSection struct {
	Quota   size     `toml:"quota" doc:"room for articles; the oldest go first"`
	Keep    duration `toml:"keep" doc:"expire after; 0: when the quota asks"`
	KeepMin duration `toml:"keep_min" doc:"younger articles are never dropped for room: rather \"try later\""`
	Cutoff  duration `toml:"cutoff" doc:"older articles are refused, but for import and peers with old"`
}

type peerSection struct {
	Name          string   `toml:"name" json:"name" doc:"what we call it"`
	Path          string   `toml:"path" json:"path,omitempty" doc:"its path identity; default: name. Articles with it in Path are not offered"`
	Address       string   `toml:"address" json:"address,omitempty" doc:"host:port, nntps://host:port for implicit TLS; empty: we never connect"`
	Send          string   `toml:"send" json:"send,omitempty" doc:"wildmat of groups it is offered"`
	Take          string   `toml:"take" json:"take,omitempty" doc:"wildmat of groups taken from it"`
	Distributions string   `toml:"distributions" json:"distributions,omitempty" doc:"wildmat: articles with a Distribution field are offered if one of its words matches"`
	Pull          bool     `toml:"pull" json:"pull,omitempty" doc:"also ask it for news every minute, as a newsreader does: for a server that gives no feed"`
	Old           bool     `toml:"old" json:"old,omitempty" doc:"take what is older than spool.cutoff too: archives between friends"`
	Key           string   `toml:"key" json:"key,omitempty" doc:"spki:sha256:B64 of its TLS key, or its identity"`
	User          string   `toml:"user" json:"user,omitempty" doc:"the login we use there"`
	Password      string   `toml:"password" json:"password,omitempty" doc:"its password, or file:PATH"`
	DayArticles   int      `toml:"day_articles" json:"day_articles,omitempty" doc:"what it may bring a day; 0: as [limits] says"`
	DaySize       size     `toml:"day_size" json:"day_size,omitempty" doc:"the octets of it"`
	Share         int      `toml:"share" json:"share,omitempty" doc:"percent of spool.quota that its articles may hold; 0: as [limits] says"`
	PKI           string   `toml:"pki" json:"pki,omitempty" doc:"its web address, http://host:port: statements about keys are pulled from there"`
	From          []string `toml:"from" json:"from,omitempty" doc:"articles are taken from these addresses without login or key" kind:"prefix"`
}

// defaults is the built-in configuration: loopback only, guests may post.
func defaults() config {
	local := []string{"127.0.0.0/8"}
	return config{
		Data: "./data", Log: "info",
		NNTP: nntpSection{
			Listen: []string{"127.0.0.1:1119"}, Anonymous: "post", Trusted: local,
			MaxArticle: 1 << 20, MaxPost: 64 << 20,
			TLS: tlsSection{ACME: acmeSection{Directory: tlsid.LetsEncrypt}},
		},
		SMTP: smtpSection{Listen: []string{"127.0.0.1:2525"}, Anonymous: "post", Trusted: local, Selector: "litfass"},
		HTTP: httpSection{
			Listen: []string{"127.0.0.1:8080"}, URL: "http://127.0.0.1:8080", Anonymous: "post", Trusted: local,
		},
		Guests:    guestsSection{Read: "*", Post: "*"},
		Torrent:   torrentSection{Listen: "127.0.0.1:42069", Threshold: 256 << 10, Quota: 10 << 30, MaxSize: 64 << 30, MaxAuto: 1 << 30},
		Tracker:   trackerSection{LivesyncLayout: "v4", LivesyncTTL: 1},
		Discovery: discoverySection{Peer: "ask"},
		Limits:    limitDefaults(),
		PKI:       pkiSection{Require: "none", LeftOut: "mark", Prefix: "mesh"},
		Spool:     spoolSection{Quota: 10 << 30, KeepMin: duration(24 * hour), Cutoff: duration(90 * 24 * hour)},
	}
}

// peerDefaults is what a [[peer]] without further keys means.
func peerDefaults() peerSection {
	return peerSection{Send: "*,!local.*", Take: "*", Distributions: peer.DefaultDist}
}

// searchPath is where the configuration lies if --config does not say.
var searchPath = [...]string{"litfass.toml", "/etc/litfass/litfass.toml"}

// loadConfig reads file, or the first of searchPath that is there, or takes the
// defaults. data, if not "", wins over the file's.
func loadConfig(file, data string) (config, error) {
	cfg := defaults()
	candidates := []string{file}
	if file == "" {
		candidates = searchPath[:]
	}
	for _, name := range candidates {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return cfg, fmt.Errorf("read the configuration: %w", err)
		}
		cfg.file = name
		if err := cfg.decode(string(text)); err != nil {
			return cfg, err
		}
		break
	}
	if data != "" {
		cfg.Data = data
	}
	if err := cfg.check(); err != nil {
		return cfg, err
	}
	cfg.NNTP.MaxArticle, cfg.NNTP.MaxPost = bounded(cfg.NNTP.MaxArticle, mostArticle), bounded(cfg.NNTP.MaxPost, mostPost)
	return cfg, nil
}

// What "0", no limit, comes to: an article is held in memory while it is taken, a
// POST lies in a file until its attachments are detached. A 32-bit int holds both.
const (
	mostArticle size = 256 << 20
	mostPost    size = 1 << 30
)

func bounded(s, most size) size {
	if s == 0 || s > most {
		return most
	}
	return s
}

// decode reads the file's text over the defaults and makes its paths relative to
// the file's folder.
func (c *config) decode(text string) error {
	md, err := toml.Decode(text, c)
	var at toml.ParseError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%d: %s", c.file, at.Position.Line, strings.TrimPrefix(at.Message, "toml: "))
	} else if err != nil {
		return fmt.Errorf("%s%s", c.file, typeText(err.Error()))
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return fmt.Errorf("%s:%d: unknown key %s; \"litfass config print\" shows all keys", c.file, lineOf(text, key), key)
	}
	for i := range c.Peer {
		p, d := &c.Peer[i], peerDefaults()
		p.Send, p.Take, p.Distributions = or(p.Send, d.Send), or(p.Take, d.Take), or(p.Distributions, d.Distributions)
		if rest, ok := strings.CutPrefix(p.Password, "file:"); ok {
			p.Password = "file:" + c.abs(rest)
		}
	}
	if md.IsDefined("http", "listen") && !md.IsDefined("http", "url") && len(c.HTTP.Listen) > 0 {
		c.HTTP.URL = "http://" + c.HTTP.Listen[0]
	}
	if rest, ok := strings.CutPrefix(c.SMTP.Password, "file:"); ok {
		c.SMTP.Password = "file:" + c.abs(rest)
	}
	if rest, ok := strings.CutPrefix(c.NNTP.Motd, "file:"); ok {
		c.NNTP.Motd = "file:" + c.abs(rest)
	}
	c.Data, c.SMTP.DKIM = c.abs(c.Data), c.abs(c.SMTP.DKIM)
	c.NNTP.TLS.Cert, c.NNTP.TLS.Key = c.abs(c.NNTP.TLS.Cert), c.abs(c.NNTP.TLS.Key)
	c.NNTP.TLS.ACME.CA = c.abs(c.NNTP.TLS.ACME.CA)
	return nil
}

// typeText says in a user's words that a value is of the wrong type: line, key, what stands
// there and what should.
func typeText(s string) string {
	var line int
	var key string
	if _, err := fmt.Sscanf(s, "toml: line %d (last key %q)", &line, &key); err != nil {
		return ": " + s
	}
	_, s, _ = strings.Cut(s, "): ")
	have, want, ok := strings.Cut(strings.TrimPrefix(s, "incompatible types: TOML value has type "), "; destination has type ")
	if !ok {
		return fmt.Sprintf(":%d: %s: %s", line, key, s)
	}
	return fmt.Sprintf(":%d: %s wants %s, not %s", line, key, typeName(want), typeName(have))
}

func typeName(t string) string {
	switch {
	case t == "string":
		return `text in quotes ("...")`
	case t == "boolean" || t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "int") || t == "integer" || t == "float" || t == "float64":
		return "a number"
	case t == "slice" || strings.HasPrefix(t, "[]"):
		return "a list ([...], or [[...]] for tables)"
	case strings.HasPrefix(t, "map") || t == "struct":
		return "a table"
	}
	return t
}

func (c *config) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file), path)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// lineOf finds the line where a key stands; 1 if it cannot be told.
func lineOf(text string, key toml.Key) int {
	table := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		full := ""
		if strings.HasPrefix(line, "[") {
			table, _, _ = strings.Cut(strings.TrimLeft(line, "["), "]")
			table = strings.TrimSpace(table)
			full = table
		} else if name, _, ok := strings.Cut(line, "="); ok {
			full = strings.Trim(strings.TrimSpace(name), `"'`)
			if table != "" {
				full = table + "." + full
			}
		}
		if full == key.String() {
			return i + 1
		}
	}
	return 1
}

// check says what is wrong with the values, key by key, all at once.
func (c *config) check() error {
	var errs []error
	say := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	checkTags(c, say)
	if c.Host != "" && !goodHost(c.Host) {
		say("host", "%q is no host name: letters, digits, dots and hyphens, at least one dot", c.Host)
	}
	if c.Data == "" {
		say("data", "must name a folder")
	}
	for key, list := range map[string][]string{
		"nntp.listen": c.NNTP.Listen, "nntp.tls.listen": c.NNTP.TLS.Listen, "http.listen": c.HTTP.Listen,
		"http.tls.listen": c.HTTP.TLS.Listen, "nntp.tls.acme.listen": c.NNTP.TLS.ACME.Listen,
		"smtp.listen": c.SMTP.Listen, "smtp.submission": c.SMTP.Submission, "smtp.lmtp": c.SMTP.LMTP,
		"torrent.listen": {c.Torrent.Listen}, "torrent.tracker": {c.Torrent.Tracker},
	} {
		for _, a := range list {
			if err := checkAddress(a); err != nil {
				say(key, "%v", err)
			}
		}
	}
	c.Limits.check(say)
	for key, w := range map[string]string{"guests.read": c.Guests.Read, "guests.post": c.Guests.Post} {
		if _, err := wildmat.Parse(w); w != "" && err != nil {
			say(key, "%q: %v", w, err)
		}
	}
	if u, err := url.Parse(c.HTTP.URL); c.HTTP.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		say("http.url", "%q is no web address: write it like http://box7.mesh.example:8080", c.HTTP.URL)
	}
	if g, err := article.ParseGroup(c.PKI.Prefix); err != nil || g.Reserved() {
		say("pki.prefix", "%q can not begin a newsgroup's name (RFC 5536 §3.1.4)", c.PKI.Prefix)
	}
	c.NNTP.checkLists(say)
	if (c.NNTP.TLS.Cert == "") != (c.NNTP.TLS.Key == "") {
		say("nntp.tls", "cert and key belong together: set both or none")
	}
	c.checkACME(say)
	if l := c.SMTP.Language; l != "" && !slices.Contains(letters.Languages(), l) {
		say("smtp.language", "there is no %.40q, only %s; empty for all of them", l, strings.Join(letters.Languages(), " and "))
	}
	if h := c.SMTP.Smarthost; h != "" && h != "mx" {
		if _, _, err := net.SplitHostPort(h); err != nil {
			say("smtp.smarthost", "%q is neither host:port nor mx", h)
		}
	}
	seen := map[string]bool{}
	for _, p := range c.Peer {
		if err := p.check(); err != nil {
			say("peer "+strconv.Quote(p.Name), "%v", err)
		}
		if seen[p.Name] {
			say("peer "+strconv.Quote(p.Name), "occurs twice; each peer needs a name of its own")
		}
		seen[p.Name] = true
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", or(c.file, "configuration"), errors.Join(errs...))
}

// check says what is wrong with one peer.
func (p peerSection) check() error {
	if p.Name == "" || strings.ContainsAny(p.Name, " \t\r\n/!\x00") || len(p.Name) > 100 {
		return errors.New("name: must be 1 to 100 octets without blanks, \"/\" and \"!\"")
	}
	if p.Address != "" {
		if err := checkAddress(strings.TrimPrefix(p.Address, "nntps://")); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	if _, err := pki.ParseID(p.Key); p.Key != "" && err != nil {
		if _, err := tlsid.ParsePin(p.Key); err != nil {
			return fmt.Errorf("key: %w; \"litfass status\" there shows it", err)
		}
	}
	if p.Share < 0 || p.Share > 100 {
		return errors.New("share: must be a percentage from 0 to 100")
	}
	for _, w := range []string{p.Send, p.Take, p.Distributions} {
		if _, err := wildmat.Parse(w); w != "" && err != nil {
			return fmt.Errorf("%q: %w", w, err)
		}
	}
	if p.Pull && p.Address == "" {
		return errors.New("pull: needs an address to connect to")
	}
	if p.PKI != "" {
		if _, err := directory.CleanURL(p.PKI); err != nil {
			return fmt.Errorf("pki: %w", err)
		}
	}
	for _, s := range p.From {
		if _, err := parsePrefix(s); err != nil {
			return fmt.Errorf("from: %w", err)
		}
	}
	return nil
}

// checkAddress takes "host:port", "[v6]:port", ":port" and "".
func checkAddress(a string) error {
	if a == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q is no address: write it like 127.0.0.1:1119 or [::1]:1119", a)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", a)
	}
	return nil
}

// parsePrefix reads "10.0.0.0/8", "fd00::/8" or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%q is no address or prefix: write it like 10.0.0.0/8 or fd00::/8", s)
}

// prefixes reads a list that check has passed.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := parsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// goodHost says whether s can be a path identity and a domain: RFC 5536 §3.1.5.
func goodHost(s string) bool {
	if len(s) > 200 || !strings.Contains(s, ".") {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
