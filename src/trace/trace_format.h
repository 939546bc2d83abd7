// TraceFormat: the forms of block traces that are read, their names, and how they are told apart.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace latte::trace {

enum class TraceFormat : uint8_t {
  csv,       ///< timestamp_us,op,offset_bytes,length_bytes; op R, W, D (discard) or F (flush)
  msr,       ///< Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime; 100 ns ticks
  vscsi1,    ///< 32-byte records of VMware's vscsiStats tracing
  vscsi2,    ///< 40-byte records of the same
  fio,       ///< iolog version 2 or 3
  blkparse,  ///< blkparse's default text
};

/// Its name as --format takes it.
std::string_view to_string(TraceFormat format);
/// The format of that name, if there is one.
std::optional<TraceFormat> trace_format_named(std::string_view name);
/// Names for help texts and errors.
inline constexpr std::string_view kTraceFormatNames = "csv, msr, vscsi1, vscsi2, fio, blkparse";
/// The format of a trace that begins so, if it can be told.
std::optional<TraceFormat> detect_trace_format(std::string_view beginning);

}  // namespace latte::trace
