package plugin

import (
	"encoding/json"
	"log"
	"strings"

	"plugin-name/bindings/types"
	filter "plugin-name/bindings/wasmtx_plugin_filter"
	contract "plugin-name/bindings/wasmtx_plugin_types"
)

// Counts the frames of a stream, and shows readers nothing but keyframes if it is told to. One instance of this program per stream.
var (
	// The `config` of mediamtx.yml.
	config struct {
		Keyframes bool `json:"keyframes"`
	}
	frames int
)

// Configure reads the configuration.
func Configure(text string) configured {
	reader := json.NewDecoder(strings.NewReader(text))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&config); err != nil {
		return invalid("", err.Error())
	}
	return fine()
}

// Open says which frames to show. What is not asked for costs nothing: the server passes it on or drops it by itself.
func Open(publication contract.Publication) types.Result[filter.Opening, contract.PluginError] {
	log.Printf("%s has %d tracks", publication.Path, len(publication.Tracks))
	which, others := contract.WhichAll, contract.UnshownPass
	if config.Keyframes {
		which, others = contract.WhichKey, contract.UnshownDrop
	}
	opening := filter.Opening{Tracks: types.None[[]contract.Track]()}
	for _, track := range publication.Tracks {
		opening.Interests = append(opening.Interests, contract.Interest{Track: track.Id, Which: which, Every: 1, Others: others})
	}
	return types.Ok[filter.Opening, contract.PluginError](opening)
}

// Frame is called for each frame that was asked for.
func Frame(info contract.FrameInfo) filter.Verdict {
	frames++
	return filter.VerdictPass
}

// Close is the end of the stream.
func Close(reason contract.CloseReason) {
	log.Printf("%d frames passed", frames)
}
