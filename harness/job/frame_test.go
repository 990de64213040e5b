package job_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
)

func encode(t testing.TB, name string, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, job.Encode(&b, job.Frame{Name: name, Data: data}))
	return b.String()
}

// decode feeds a console to a Decoder.
func decode(console string) (frames []job.Frame, errs []error) {
	var d job.Decoder
	for line := range strings.Lines(console) {
		f, err := d.Line(line)
		if err != nil {
			errs = append(errs, err)
		}
		if f != nil {
			frames = append(frames, *f)
		}
	}
	return frames, errs
}

func TestEncode(t *testing.T) {
	assert.Equal(t, "@vl done 1/1 - 32fd8fda\n", encode(t, job.FrameDone, nil))
	assert.Equal(t, "@vl begin 1/1 bWVtb3J5 d0b5d116\n", encode(t, job.FrameBegin, []byte("memory")))
	golden, err := os.ReadFile("testdata/stored.console")
	require.NoError(t, err)
	assert.Equal(t, string(golden), encode(t, job.FrameOutput, digests()))
}

// digests are 310 bytes that do not get shorter: SHA-256 of "0", of "1", ...
func digests() (b []byte) {
	for i := range 10 {
		sum := sha256.Sum256([]byte(strconv.Itoa(i)))
		b = append(b, sum[:]...)
	}
	return b[:310]
}

func TestDecodeDeflated(t *testing.T) {
	golden, err := os.ReadFile("testdata/deflated.console")
	require.NoError(t, err)
	frames, errs := decode(string(golden))
	require.Empty(t, errs)
	assert.Equal(t, []job.Frame{{Name: "output", Data: []byte(strings.Repeat("sysbench 1.0.20\n", 100))}}, frames)
}

func TestEncodeDeflates(t *testing.T) {
	text := strings.Repeat("sysbench 1.0.20\n", 100)
	console := encode(t, "output", []byte(text))
	assert.Equal(t, 1, strings.Count(console, "\n"))
	frames, errs := decode(console)
	require.Empty(t, errs)
	assert.Equal(t, text, string(frames[0].Data))
}

func TestEncodeKeepsItsLimits(t *testing.T) {
	all := make([]byte, 1<<16)
	_, _ = rand.NewChaCha8([32]byte{}).Read(all) // does not deflate
	for line := range strings.Lines(encode(t, "abcdefghijklmnop", all)) {
		assert.LessOrEqual(t, len(line), 450)
		for _, c := range []byte(strings.TrimSuffix(line, "\n")) {
			assert.True(t, ' ' <= c && c <= '~', "%q", c)
		}
	}
	for _, name := range []string{"", "Up", "two words", "abcdefghijklmnopq", "a1", "up\n"} {
		assert.ErrorContains(t, job.Encode(&bytes.Buffer{}, job.Frame{Name: name}), "small letters", name)
	}
	assert.ErrorContains(t, job.Encode(&bytes.Buffer{}, job.Frame{Name: "output", Data: make([]byte, 3<<20)}), "more than")
}

// oneWrite fails the test when a frame comes in pieces.
type oneWrite struct{ n int }

func (w *oneWrite) Write(p []byte) (int, error) { w.n++; return len(p), nil }

func TestEncodeWritesOnce(t *testing.T) {
	var w oneWrite
	require.NoError(t, job.Encode(&w, job.Frame{Name: "output", Data: make([]byte, 10000)}))
	assert.Equal(t, 1, w.n)
}

func TestDecodeAmongOtherText(t *testing.T) {
	data := slices.Concat(digests(), digests(), digests())
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(data), func(i, j int) { data[i], data[j] = data[j], data[i] })
	long := encode(t, "output", data)
	lines := strings.SplitAfter(long, "\n")
	console := "virtlab: init\r\n" +
		"[    0.412] virtio_blk virtio0: [vda] 100 MiB@vl up 1/1 e30= 43c48fe6\r\n" + // the kernel's line end came late
		lines[0] + "[    0.5] random: crng init done\r\n" + "\r\n" +
		strings.TrimSuffix(lines[1], "\n") + "[    0.6] clocksource: switched\r\n" + "\r\n" +
		strings.Join(lines[2:], "") +
		"debian login: " + encode(t, "done", nil)
	frames, errs := decode(console)
	require.Empty(t, errs)
	require.Len(t, frames, 3)
	assert.Equal(t, job.Frame{Name: "up", Data: []byte("{}")}, frames[0])
	assert.Equal(t, data, frames[1].Data)
	assert.Equal(t, "done", frames[2].Name)
	assert.Empty(t, frames[2].Data)
}

func TestDecodeDamage(t *testing.T) {
	noise := make([]byte, 1600)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	a := strings.SplitAfter(encode(t, "output", noise[:800]), "\n")
	b := strings.SplitAfter(encode(t, "output", noise[800:]), "\n")
	bomb := encode(t, "output", make([]byte, 2_400_000))
	require.Less(t, len(bomb), 5000)
	done := encode(t, "done", nil)
	for name, c := range map[string]struct{ console, want string }{
		"first line missing":     {a[1] + a[2], "a line before it is missing"},
		"middle line missing":    {a[0] + a[2], "a line before it is missing"},
		"line twice":             {a[0] + a[1] + a[1] + a[2], "a line before it is missing"},
		"last line missing":      {a[0] + a[1] + done, "line 3 of 3 of the output frame before is missing"},
		"two frames in one":      {a[0] + b[1] + b[2], "its checksum does not fit"},
		"a bit":                  {strings.Replace(a[0], "A", "B", 1) + a[1] + a[2], "its checksum does not fit"},
		"a kernel message in it": {a[0][:50] + "[    1.0] hello\n" + a[0][50:], "its checksum does not fit"},
		"cut short":              {a[0][:100] + "\n", "not NAME SEQ/N BASE64 CRC32"},
		"line end lost":          {strings.TrimSuffix(done, "\n") + done, "a line end is missing"},
		"beyond the end":         {"@vl up 3/2 - 00000000\n", "not NAME"},
		"flag lost":              {strings.Replace(bomb, "z ", " ", 1), "its checksum does not fit"},
		"endless":                {"@vl up 1/99999 - 00000000\n", "not NAME"},
		"no number":              {"@vl up 01/1 - 00000000\n", "not NAME"},
	} {
		frames, errs := decode(c.console)
		if assert.NotEmpty(t, errs, name) {
			assert.ErrorContains(t, errs[0], "the console is damaged: "+c.want, name)
		}
		for _, f := range frames {
			assert.Equal(t, "done", f.Name, "%s: a damaged frame came through", name)
		}
	}
}

// A few bytes that become more than a frame can have are refused.
func TestDecodeRefusesABomb(t *testing.T) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 100<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	line := "output 1/1z " + base64.StdEncoding.EncodeToString(b.Bytes())
	frames, errs := decode(fmt.Sprintf("@vl %s %08x\n", line, crc32.ChecksumIEEE([]byte(line))))
	assert.Empty(t, frames)
	require.Len(t, errs, 1)
	assert.ErrorContains(t, errs[0], "more than 2457300 bytes")
}

func TestDecodeGoesOnAfterDamage(t *testing.T) {
	frames, errs := decode("@vl up 1/1 AAAA 00000000\n" + encode(t, "done", nil))
	assert.Len(t, errs, 1)
	assert.Equal(t, []job.Frame{{Name: "done"}}, frames)
}

// Whatever one byte becomes, no frame changes without an error.
func TestDecodeFindsEveryChangedByte(t *testing.T) {
	console := encode(t, "begin", []byte("sysbench-cpu/threads=4"))
	for i := range len(console) - 1 {
		for _, c := range []byte("@ a0=/Z\n\xff") {
			if console[i] == c {
				continue
			}
			changed := console[:i] + string(c) + console[i+1:]
			frames, _ := decode(changed)
			for _, f := range frames {
				require.Equal(t, job.Frame{Name: "begin", Data: []byte("sysbench-cpu/threads=4")}, f, "byte %d is %q", i, c)
			}
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add("up", []byte(`{"kernel":"6.1"}`), "[    0.4] noise", uint64(1))
	f.Add("done", []byte(nil), "", uint64(2))
	f.Add("output", bytes.Repeat([]byte{0xff, 0}, 400), "@v", uint64(3))
	f.Add("output", digests(), "[    0.4] noise", uint64(4))
	f.Fuzz(func(t *testing.T, name string, data []byte, noise string, seed uint64) {
		var b bytes.Buffer
		if job.Encode(&b, job.Frame{Name: name, Data: data}) != nil || strings.Contains(noise, "@vl ") {
			return
		}
		noise = strings.NewReplacer("\n", "", "\r", "").Replace(noise)
		r := rand.New(rand.NewPCG(seed, 0))
		var console strings.Builder
		for line := range strings.Lines(b.String()) {
			switch r.IntN(3) {
			case 0:
				fmt.Fprintln(&console, noise)
			case 1:
				line = strings.TrimSuffix(line, "\n") + noise + "\n"
			}
			console.WriteString(line)
		}
		frames, errs := decode(console.String())
		require.Empty(t, errs)
		require.Len(t, frames, 1)
		require.Equal(t, name, frames[0].Name)
		require.True(t, bytes.Equal(data, frames[0].Data))
	})
}

func FuzzDecoder(f *testing.F) {
	f.Add("@vl done 1/1 - 32fd8fda\n@vl begin 1/1 bWVtb3J5 d0b5d116\n")
	f.Add("@vl up 1/2 AAAA 00000000\n@vl up 2/2 AAAA 00000000\nx@vl ")
	for _, file := range []string{"stored", "deflated"} {
		golden, err := os.ReadFile("testdata/" + file + ".console")
		require.NoError(f, err)
		f.Add(string(golden))
	}
	f.Fuzz(func(t *testing.T, console string) {
		frames, _ := decode(console)
		for _, frame := range frames {
			// What comes out is what Encode puts in, line by line.
			again, errs := decode(encode(t, frame.Name, frame.Data))
			require.Empty(t, errs)
			require.Equal(t, []job.Frame{frame}, again)
		}
	})
}
