#include "engine/memory/catalog/catalog_vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "engine/memory/catalog/shared_database.h"
#include "kernels/core/check.h"

namespace msa::engine {

struct CatalogVfs::State {
  FileSystem* files = nullptr;
  std::string name;
  sqlite3_vfs vfs{};
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<SharedDatabase>> databases;  // by path, under `mutex`

  // The database's shared part; null when another program has the file.
  std::shared_ptr<SharedDatabase> Share(const std::string& path) {
    const std::lock_guard lock(mutex);
    std::erase_if(databases, [](const auto& entry) { return entry.second.expired(); });
    std::shared_ptr<SharedDatabase> database = databases[path].lock();
    if (database != nullptr) return database;
    // The bytes that SQLite's own file locks use: pending, reserved and shared.
    auto file_lock = files->LockRange(path, 0x40000000, 512);
    if (!file_lock.ok()) return nullptr;
    database = std::make_shared<SharedDatabase>(*std::move(file_lock));
    databases[path] = database;
    return database;
  }
};

namespace {

// What SQLite allocates for an open file.
struct File {
  sqlite3_file base;
  struct Content* content;
};

struct Content {
  CatalogVfs::State* state = nullptr;
  std::string path;
  std::unique_ptr<RandomAccessFile> file;
  bool directory_is_synced = true;           // false for a WAL or journal until its first sync
  std::shared_ptr<SharedDatabase> database;  // of a main database only
  SharedDatabase::Connection connection;
};

Content& Of(sqlite3_file* file) { return *reinterpret_cast<File*>(file)->content; }
CatalogVfs::State& Of(sqlite3_vfs* vfs) { return *static_cast<CatalogVfs::State*>(vfs->pAppData); }

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

int CodeOf(const absl::Status& status, int otherwise) {
  if (status.ok()) return SQLITE_OK;
  return absl::IsResourceExhausted(status) ? SQLITE_FULL : otherwise;
}

int Close(sqlite3_file* file) {
  Content* const content = &Of(file);
  if (content->database != nullptr) content->database->Leave(&content->connection);
  delete content;
  return SQLITE_OK;
}

int Read(sqlite3_file* file, void* buffer, int size, sqlite3_int64 offset) {
  const auto out = absl::MakeSpan(static_cast<std::byte*>(buffer), static_cast<size_t>(size));
  const auto n = Of(file).file->ReadAt(static_cast<uint64_t>(offset), out);
  if (!n.ok()) return SQLITE_IOERR_READ;
  if (*n == out.size()) return SQLITE_OK;
  std::memset(out.data() + *n, 0, out.size() - *n);  // SQLite demands zeros after a short read
  return SQLITE_IOERR_SHORT_READ;
}

int Write(sqlite3_file* file, const void* buffer, int size, sqlite3_int64 offset) {
  const auto bytes =
      absl::MakeSpan(static_cast<const std::byte*>(buffer), static_cast<size_t>(size));
  return CodeOf(Of(file).file->WriteAt(static_cast<uint64_t>(offset), bytes), SQLITE_IOERR_WRITE);
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  return CodeOf(Of(file).file->Truncate(static_cast<uint64_t>(size)), SQLITE_IOERR_TRUNCATE);
}

int Sync(sqlite3_file* file, int /*flags*/) {
  Content& content = Of(file);
  if (!content.file->Sync().ok()) return SQLITE_IOERR_FSYNC;
  if (!content.directory_is_synced) {
    if (!content.state->files->SyncDirectory(DirectoryOf(content.path)).ok()) {
      return SQLITE_IOERR_DIR_FSYNC;
    }
    content.directory_is_synced = true;
  }
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  const auto bytes = Of(file).file->Size();
  if (!bytes.ok()) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(*bytes);
  return SQLITE_OK;
}

// Only main databases are locked.
int Lock(sqlite3_file* file, int level) {
  Content& content = Of(file);
  return content.database == nullptr || content.database->Lock(&content.connection, level)
             ? SQLITE_OK
             : SQLITE_BUSY;
}

int Unlock(sqlite3_file* file, int level) {
  Content& content = Of(file);
  if (content.database != nullptr) content.database->Unlock(&content.connection, level);
  return SQLITE_OK;
}

int CheckReservedLock(sqlite3_file* file, int* is_reserved) {
  Content& content = Of(file);
  *is_reserved = content.database != nullptr && content.database->IsReserved();
  return SQLITE_OK;
}

int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int SectorSize(sqlite3_file*) { return 4096; }
int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  *out = Of(file).database->Region(static_cast<size_t>(region), static_cast<size_t>(size),
                                   extend != 0);
  return SQLITE_OK;
}

int ShmLock(sqlite3_file* file, int first, int count, int flags) {
  Content& content = Of(file);
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    content.database->UnlockIndex(&content.connection, first, count);
    return SQLITE_OK;
  }
  return content.database->LockIndex(&content.connection, first, count, exclusive) ? SQLITE_OK
                                                                                   : SQLITE_BUSY;
}

void ShmBarrier(sqlite3_file* file) { Of(file).database->Barrier(); }

int ShmUnmap(sqlite3_file* file, int /*delete_index*/) {
  Content& content = Of(file);
  content.database->UnlockIndex(&content.connection, 0, SQLITE_SHM_NLOCK);
  return SQLITE_OK;
}

constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = Close,
    .xRead = Read,
    .xWrite = Write,
    .xTruncate = Truncate,
    .xSync = Sync,
    .xFileSize = FileSize,
    .xLock = Lock,
    .xUnlock = Unlock,
    .xCheckReservedLock = CheckReservedLock,
    .xFileControl = FileControl,
    .xSectorSize = SectorSize,
    .xDeviceCharacteristics = DeviceCharacteristics,
    .xShmMap = ShmMap,
    .xShmLock = ShmLock,
    .xShmBarrier = ShmBarrier,
    .xShmUnmap = ShmUnmap,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;  // SQLite then does not close what did not open
  if (path == nullptr) return SQLITE_CANTOPEN;
  CatalogVfs::State& state = Of(vfs);
  const bool exists = state.files->Exists(path);
  if (!exists && (flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
  auto content = std::make_unique<Content>();
  content->state = &state;
  content->path = path;
  auto opened = state.files->OpenForUpdate(path);
  if (!opened.ok()) return CodeOf(opened.status(), SQLITE_CANTOPEN);
  content->file = *std::move(opened);
  const bool is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0;
  // A log that is there may be that of a process that was killed before it synced the entry.
  content->directory_is_synced = is_main && exists;
  if (is_main) {
    content->database = state.Share(path);
    if (content->database == nullptr) return SQLITE_BUSY;
  }
  reinterpret_cast<File*>(file)->content = content.release();
  file->pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  CatalogVfs::State& state = Of(vfs);
  if (!state.files->Exists(path)) return SQLITE_IOERR_DELETE_NOENT;
  if (!state.files->Remove(path).ok()) return SQLITE_IOERR_DELETE;
  if (sync_directory != 0 && !state.files->SyncDirectory(DirectoryOf(path)).ok()) {
    return SQLITE_IOERR_DIR_FSYNC;
  }
  return SQLITE_OK;
}

int Access(sqlite3_vfs* vfs, const char* path, int /*flags*/, int* result) {
  *result = Of(vfs).files->Exists(path);
  return SQLITE_OK;
}

int FullPathname(sqlite3_vfs*, const char* path, int size, char* out) {
  const size_t length = std::strlen(path);
  if (length >= static_cast<size_t>(size)) return SQLITE_CANTOPEN;
  std::memcpy(out, path, length + 1);
  return SQLITE_OK;
}

}  // namespace

CatalogVfs::CatalogVfs(FileSystem* files) : state_(std::make_unique<State>()) {
  static std::atomic<int> num_created = 0;
  MSA_CHECK(sqlite3_initialize() == SQLITE_OK, "SQLite starts");
  const sqlite3_vfs* const system = sqlite3_vfs_find(nullptr);
  state_->files = files;
  state_->name = absl::StrCat("msa-", num_created.fetch_add(1));
  sqlite3_vfs& vfs = state_->vfs;
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(File);
  vfs.mxPathname = 4096;
  vfs.zName = state_->name.c_str();
  vfs.pAppData = state_.get();
  vfs.xOpen = Open;
  vfs.xDelete = Delete;
  vfs.xAccess = Access;
  vfs.xFullPathname = FullPathname;
  vfs.xRandomness = system->xRandomness;
  vfs.xSleep = system->xSleep;
  vfs.xCurrentTime = system->xCurrentTime;
  vfs.xCurrentTimeInt64 = system->xCurrentTimeInt64;
  vfs.xGetLastError = system->xGetLastError;
  MSA_CHECK(sqlite3_vfs_register(&vfs, /*makeDflt=*/0) == SQLITE_OK, "the VFS is registered");
}

CatalogVfs::~CatalogVfs() { sqlite3_vfs_unregister(&state_->vfs); }

const std::string& CatalogVfs::name() const { return state_->name; }
FileSystem* CatalogVfs::file_system() const { return state_->files; }

}  // namespace msa::engine
