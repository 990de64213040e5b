package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/result"
)

// runSetup installs the packages that are missing and builds the assets.
func runSetup(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	dry := flags.Bool("n", false, "say what would be done, and do nothing")
	if err := parseFlags(flags, args, stderr, 0); err != nil {
		return err
	}
	root, err := harness.Root()
	if err != nil {
		return err
	}
	dir, err := build.DefaultDir()
	if err != nil {
		return err
	}
	missing := build.Missing(build.Packages())
	if *dry {
		return planSetup(stdout, dir, missing)
	}
	cache, err := build.OpenCache(dir, stderr)
	if err != nil {
		return err
	}
	return setup(ctx, root, cache, missing, stdout)
}

func setup(ctx context.Context, root string, cache *build.Cache, missing []build.Package, stdout io.Writer) error {
	start := time.Now()
	if len(missing) > 0 {
		printMissing(stdout, missing)
		if err := build.NewInstaller(cache).Install(ctx, missing); err != nil {
			return err
		}
	}
	if _, err := build.Setup(ctx, root, cache); err != nil {
		return err
	}
	printUses(stdout, cache, time.Since(start))
	return nil
}

// planSetup is setup's dry run.
func planSetup(w io.Writer, cacheDir string, missing []build.Package) error {
	if len(missing) == 0 {
		fmt.Fprintln(w, "All Debian packages are here.")
	} else {
		printMissing(w, missing)
		fmt.Fprintf(w, "They would be installed, as root, with\n  %s\n", build.InstallCommand(missing))
	}
	_, err := fmt.Fprintf(w, "What the labs boot would be built into %s where it is missing (about %d minutes the first time).\n", cacheDir, build.SetupMinutes)
	return err
}

func printMissing(w io.Writer, missing []build.Package) {
	t := newTable(w)
	t.SetTitle("missing: %s", plural(len(missing), "Debian package"))
	t.AppendHeader(table.Row{"package", "why"})
	for _, p := range missing {
		t.AppendRow(table.Row{p.Name, p.Why})
	}
	t.Render()
}

// printUses is the summary at the end of a set-up. Where all was there already
// one line says so: make labs begins with it each time.
func printUses(w io.Writer, cache *build.Cache, took time.Duration) {
	var built []build.Use
	for _, u := range cache.Uses() {
		if u.Built {
			built = append(built, u)
		}
	}
	if len(built) == 0 {
		fmt.Fprintf(w, "setup: %d assets are in %s, nothing to build\n", len(cache.Uses()), cache.Dir())
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"asset", "", "seconds", "MiB", "in"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}})
	var total int64
	for _, u := range cache.Uses() {
		size := diskUsage(u.Dir)
		total += size
		t.AppendRow(table.Row{u.Name, origin(u), fmt.Sprintf("%.1f", u.Took.Seconds()), mebibytes(size), filepath.Base(u.Dir)})
	}
	t.AppendFooter(table.Row{"all", "", fmt.Sprintf("%.1f", took.Seconds()), mebibytes(total), cache.Dir()})
	t.Render()
}

func origin(u build.Use) string {
	if u.Built {
		return "built"
	}
	return "cached"
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// diskUsage is what the files below dir occupy, in bytes: images are sparse.
func diskUsage(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			bytes += allocated(info)
		}
		return nil
	})
	return bytes
}

// statBlock is the unit of st_blocks, whatever the file system's block size.
const statBlock = 512

func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * statBlock
	}
	return info.Size()
}

// newTable is a table in the house's style.
func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Format.Header, style.Format.Footer = text.FormatDefault, text.FormatDefault
	t.SetStyle(style)
	return t
}

// firstLine is the first line of an error's message and what there is to do
// about it.
func firstLine(err error) (message, todo string) {
	var owned *result.Error
	if errors.As(err, &owned) {
		todo = owned.Hint
		err = owned.Err
	}
	message, _, _ = strings.Cut(err.Error(), "\n")
	return message, todo
}
