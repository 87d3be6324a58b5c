//go:build interop

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/litfass/litfass/test/altered"
	"github.com/litfass/litfass/test/nodebox"
	"github.com/litfass/litfass/torrent"
)

// TestAlteredTorrents gives the binary torrents that bend or break one rule each, as a
// person would: torrent get FILE, with an origin that has what they name. What is broken is
// refused with a reason and exit code 1; what is sound arrives whole, is listed, read
// through /t/, and removed. The node lives, and nothing is outside its store.
func TestAlteredTorrents(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(zeros))
	defer origin.Close()
	web, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, nodebox.Options{Host: ourHost, HTTP: web, Torrent: `quota = "256MiB"`})
	w := &alteredNode{Node: n, url: "http://" + web, dir: t.TempDir(), seed: origin.URL + "/"}
	var running sync.WaitGroup
	free := make(chan struct{}, 64)
	taken, refused := 0, 0
	var mu sync.Mutex
	only := os.Getenv("LITFASS_ALTERED") // a part of a name, for who looks into one
	for i, a := range altered.All() {
		if !strings.Contains(a.Name, only) {
			continue
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			ok, err := w.try(i, a)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Errorf("%s: %v", a.Name, err)
			case ok:
				taken++
			default:
				refused++
			}
		})
	}
	running.Wait()
	t.Logf("%d taken, %d refused, the node's most %d MiB", taken, refused, peakKiB(t, n.Pid())>>10)
	if only == "" && (taken < 200 || refused < 200) {
		t.Errorf("%d taken, %d refused", taken, refused)
	}
	out, err := n.Run("torrent", "list", "--json")
	if err != nil {
		t.Error(err)
	}
	var left []struct{ Name, State string }
	if err := json.Unmarshal([]byte(out), &left); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if strings.Contains(n.Log(), "panic") {
		t.Error(n.Log())
	}
	onlyTheStore(t, filepath.Join(n.Dir, "data", "torrents"))
	if kib := peakKiB(t, n.Pid()); kib > 512<<10 {
		t.Errorf("the node took %d KiB", kib)
	}
}

// zeros is an origin that has everything: zeros.
func zeros(w http.ResponseWriter, r *http.Request) {
	rng, part := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !part { // a whole file, which the origin does not know the length of: the asker leaves when he has it
		_, _ = io.CopyN(w, nought{}, 1<<20)
		return
	}
	from, to, _ := strings.Cut(rng, "-")
	a, err1 := strconv.ParseInt(from, 10, 64)
	b, err2 := strconv.ParseInt(to, 10, 64)
	if err1 != nil || err2 != nil || b < a {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", a, b))
	w.Header().Set("Content-Length", strconv.FormatInt(b-a+1, 10))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.CopyN(w, nought{}, b-a+1)
}

// nought reads zeros.
type nought struct{}

func (nought) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type alteredNode struct {
	*nodebox.Node
	url, dir, seed string
}

// seeded adds the origin as web seed to a file that holds nothing but info.
func (n *alteredNode) seeded(b []byte) []byte {
	b = bytes.TrimRight(b, "\r\n")
	if !bytes.HasPrefix(b, []byte("d4:infod")) || !bytes.HasSuffix(b, []byte("ee")) {
		return b
	}
	return fmt.Appendf(b[:len(b)-1:len(b)-1], "8:url-list%d:%se", len(n.seed), n.seed)
}

// try gives the node one torrent, and says whether it took it.
func (n *alteredNode) try(i int, a altered.Torrent) (taken bool, err error) {
	name := filepath.Join(n.dir, fmt.Sprintf("%d.torrent", i))
	file := n.seeded(a.File)
	if err := os.WriteFile(name, file, 0o600); err != nil {
		return false, err
	}
	defer os.Remove(name)
	wait := 5 * time.Second // nobody has it, or it is not what its hashes say
	if a.Sound || a.Broken {
		wait = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	out, said, code := n.command(ctx, "torrent", "get", "--json", name)
	var done struct {
		Infohash, State string
		Size            int64
	}
	switch {
	case ctx.Err() != nil && !a.Sound && !a.Broken: // it looks for peers
		m, err := torrent.ParseMetainfo(file, torrent.Limits{})
		if err != nil {
			return false, fmt.Errorf("waits, though %v", err)
		}
		done.Infohash = m.Info.Hash.String()
		return true, n.remove(done.Infohash)
	case ctx.Err() != nil:
		return false, errors.New("no answer in a minute")
	case code == 1 && !a.Sound:
		if text := strings.TrimSuffix(said, "\n"); len(text) > 400 || strings.ContainsFunc(text, unicode.IsControl) || !strings.Contains(text, "refused: ") {
			return false, fmt.Errorf("refused with %q", said)
		}
		return false, nil
	case code != 0 || a.Broken:
		return false, fmt.Errorf("exit %d: %s%s", code, out, said)
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		return true, err
	}
	if err := n.look(done.Infohash, done.Size); err != nil {
		return true, err
	}
	return true, n.remove(done.Infohash)
}

// command runs the binary as a person does.
func (n *alteredNode) command(ctx context.Context, args ...string) (out, said string, code int) {
	cmd := exec.CommandContext(ctx, built.bin, append([]string{"--config", filepath.Join(n.Dir, "litfass.toml")}, args...)...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); cmd.ProcessState == nil {
		return "", err.Error(), -1
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func (n *alteredNode) remove(hash string) error {
	if _, err := n.Run("torrent", "rm", hash); err != nil {
		return err
	}
	res, err := http.Get(n.url + "/t/" + hash + "/")
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		return fmt.Errorf("after rm: %s", res.Status)
	}
	return nil
}

// look reads all there is of a torrent at the web door.
func (n *alteredNode) look(hash string, size int64) error {
	base := n.url + "/t/" + hash
	_, page, err := webGet(base + "/")
	if err != nil {
		return err
	}
	if strings.ContainsFunc(string(page), misleads) {
		return fmt.Errorf("the page shows %q", strings.Map(func(r rune) rune {
			if misleads(r) {
				return r
			}
			return -1
		}, string(page)))
	}
	_, meta, err := webGet(base + ".torrent")
	if err != nil {
		return err
	}
	if m, err := torrent.ParseMetainfo(meta, torrent.Limits{}); err != nil || m.Info.Hash.String() != hash {
		return fmt.Errorf(".torrent: %v", err)
	}
	_, meta, err = webGet(base + ".meta4")
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(meta, new(struct {
		XMLName xml.Name `xml:"urn:ietf:params:xml:ns:metalink metalink"`
	})); err != nil {
		return fmt.Errorf(".meta4: %w", err)
	}
	got, files, err := n.folder(base+"/", 0)
	if err == nil && files < 20 && got > size { // padding is shown nowhere
		err = fmt.Errorf("%d octets in its files, %d in all", got, size)
	}
	return err
}

// misleads says that a character on a page is none that people should meet there.
func misleads(r rune) bool {
	return unicode.IsControl(r) && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c
}

// folder reads what a folder lists, and goes into its folders.
func (n *alteredNode) folder(url string, depth int) (octets int64, files int, err error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	var list struct {
		Files []struct {
			Path, URL string
			Size      int64
		}
		Folders []struct{ URL string }
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || res.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s: %s, %w", url, res.Status, err)
	}
	for i, f := range list.Files {
		octets += f.Size
		if i >= 20 {
			continue
		}
		h, b, err := webGet(n.url + f.URL)
		if err != nil || int64(len(b)) != f.Size || len(bytes.Trim(b, "\x00")) > 0 {
			return 0, 0, fmt.Errorf("%q: %d of %d octets, %v", f.Path, len(b), f.Size, err)
		}
		_, p, err := mime.ParseMediaType(h.Get("Content-Disposition"))
		if err != nil || p["filename"] == "" || p["filename"] != torrent.CleanName(p["filename"]) {
			return 0, 0, fmt.Errorf("Content-Disposition %q, %v", h.Get("Content-Disposition"), err)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox;") || strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			return 0, 0, fmt.Errorf("headers %v", h)
		}
	}
	files = len(list.Files)
	for _, sub := range list.Folders {
		if depth > 16 {
			return 0, 0, errors.New("deeper than any path")
		}
		o, k, err := n.folder(n.url+sub.URL, depth+1)
		if err != nil {
			return 0, 0, err
		}
		octets, files = octets+o, files+k
	}
	return octets, files, nil
}

func webGet(url string) (http.Header, []byte, error) {
	res, err := http.Get(url)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return res.Header, b, err
}

// onlyTheStore: files are named by their SHA-256, parts by their infohash, and all are gone.
func onlyTheStore(t *testing.T, dir string) {
	t.Helper()
	may := regexp.MustCompile(`^(\.|tmp|part|files|files/[0-9a-f]{2})$`)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || !may.MatchString(filepath.ToSlash(rel)) || !d.IsDir() {
			t.Errorf("%q is there", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// peakKiB is the most resident memory a process had.
func peakKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the node is gone: %v", err)
	}
	_, hwm, _ := strings.Cut(string(text), "VmHWM:")
	n, _ := strconv.Atoi(strings.Fields(hwm + " 0")[0])
	return n
}
