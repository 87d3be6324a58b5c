//go:build !notorrent

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article/content"
)

// TestAttachmentTravels: a post with a large attachment becomes a small article
// with a magnet link; another node gets the article, and from it the file.
func TestAttachmentTravels(t *testing.T) {
	b := startNode(t, "b", "[[peer]]\nname = \"a.example\"\nfrom = [\"127.0.0.0/8\"]\n")
	a := startNode(t, "a", "[[peer]]\nname = \"b.example\"\naddress = \""+b.nntp+"\"\n")
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	nntpPost(t, a.nntp, "From: Anna <anna@a.example>\r\nNewsgroups: mesh.talk\r\nSubject: film\r\nMessage-ID: <film@a.example>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nlook\r\n--b\r\nContent-Type: video/mp4; name=film.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
		base64Lines(data)+"--b--\r\n")
	var text []byte
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // two processes' worth of flooding
		var res *http.Response
		if res, text = httpGet(t, "http://"+b.http+"/m/film@a.example/raw"); res.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the article did not come over")
		}
	}
	if len(text) > 4096 || !bytes.Contains(text, []byte("message/external-body")) || !bytes.Contains(text, []byte("detached attachment 1 of 1")) {
		t.Errorf("article of %d octets:\n%s", len(text), text)
	}
	t.Logf("an attachment of %d octets became an article of %d", len(data), len(text))
	hash := regexp.MustCompile(`infohash=([0-9a-f]{40})`).FindSubmatch(text)
	if hash == nil {
		t.Fatal("no infohash")
	}
	url := "http://" + b.http + "/t/" + string(hash[1]) + "/film.mp4"
	var res *http.Response
	var got []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if res, got = httpGet(t, url, "Range", "bytes=700000-799999"); res.StatusCode != 404 { // the follower has seen the article
			break
		}
	}
	if res.StatusCode != 206 || !bytes.Equal(got, data[700000:800000]) || res.Header.Get("Content-Type") != "video/mp4" {
		t.Errorf("range: %d, %d octets: %.200q", res.StatusCode, len(got), got)
	}
	if res, got := httpGet(t, url); res.StatusCode != 200 || !bytes.Equal(got, data) {
		t.Errorf("whole: %d, %d octets", res.StatusCode, len(got))
	}
	out, code := b.cmd("torrent", "get", "magnet:?xt=urn:btih:"+string(hash[1]))
	if code != 0 || !strings.Contains(out, "verified") {
		t.Errorf("torrent get: %d %s", code, out)
	}
	if res, _ := httpGet(t, "http://"+b.http+"/t/"+string(hash[1])+"/../x"); res.StatusCode != 404 {
		t.Logf("the client cleaned the path: %d", res.StatusCode)
	}
	if _, m := httpGet(t, "http://"+a.http+"/announce?info_hash="+percent(t, string(hash[1]))+"&peer_id=-XX0000-abcdefghijkl&port=9&left=1"); !bytes.Contains(m, []byte("8:completei1e")) && !bytes.Contains(m, []byte("8:completei2e")) {
		t.Errorf("the tracker says %q", m)
	}
}

func percent(t *testing.T, hexHash string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(hexHash); i += 2 {
		b.WriteString("%" + hexHash[i:i+2])
	}
	return b.String()
}

func base64Lines(b []byte) string {
	var out strings.Builder
	_ = content.CopyBase64(&out, bytes.NewReader(b)) // into memory
	return out.String()
}

func TestTorrentCommands(t *testing.T) {
	a := startNode(t, "a", "")
	file := filepath.Join(t.TempDir(), "show.ogg")
	data := bytes.Repeat([]byte("radio"), 100000)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := a.cmd("torrent", "add", "--group", "mesh.talk", "--json", file)
	var added torrentJSON
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &added); err != nil || code != 0 || added.ID == "" {
		t.Fatalf("add: %d %s %v", code, out, err)
	}
	if res, got := httpGet(t, added.URL); res.StatusCode != 200 || !bytes.Equal(got, data) {
		t.Errorf("%s: %d", added.URL, res.StatusCode)
	}
	if out, code := a.cmd("torrent", "add", "--group", "no.group", file); code == 0 || !strings.Contains(out, `there is no group no.group; "litfass group list" shows`) {
		t.Errorf("add to no group: %d %s", code, out)
	}
	b := startNode(t, "b", "")
	copied := filepath.Join(t.TempDir(), "copy")
	if out, code := b.cmd("torrent", "get", "-o", copied, added.Magnet); code != 0 {
		t.Fatalf("get: %d %s", code, out)
	}
	if got, err := os.ReadFile(copied); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy has %d octets, %v", len(got), err)
	}
	if out, code := b.cmd("torrent", "list"); code != 0 || !strings.Contains(out, "show.ogg") {
		t.Errorf("list: %d %s", code, out)
	}
	if out, code := b.cmd("torrent", "rm", added.Infohash); code != 0 {
		t.Errorf("rm: %d %s", code, out)
	}
	_, metainfo := httpGet(t, "http://"+a.http+"/t/"+added.Infohash+".torrent")
	file = filepath.Join(t.TempDir(), "show.torrent")
	again := filepath.Join(t.TempDir(), "again")
	if err := os.WriteFile(file, metainfo, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := b.cmd("torrent", "get", "-o", again, file); code != 0 {
		t.Fatalf("get by the .torrent file: %d %s", code, out)
	}
	if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the second copy has %d octets, %v", len(got), err)
	}
	if out, code := b.cmd("torrent", "get", copied); code != 1 || !strings.Contains(out, "metadata refused") {
		t.Errorf("get of what is no .torrent file: %d %s", code, out)
	}
	if out, code := b.cmd("torrent", "rm", "--deny", "test", added.Infohash); code != 0 {
		t.Errorf("rm: %d %s", code, out)
	}
	if res, _ := httpGet(t, "http://"+b.http+"/t/"+added.Infohash+"/show.ogg"); res.StatusCode != 451 {
		t.Errorf("denied: %d", res.StatusCode)
	}
	if out, code := b.cmd("torrent", "get", "nonsense"); code != 1 || !strings.Contains(out, "magnet") {
		t.Errorf("nonsense: %d %s", code, out)
	}
}
