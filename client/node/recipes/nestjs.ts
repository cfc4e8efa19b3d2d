// SPDX-License-Identifier: Apache-2.0
// NestJS (11): defaults for the application in a module, and methods of providers that are cached. Providers are
// singletons, so their results are shared: per: 'function'. Those of a request's scope need per: 'instance'.
import 'reflect-metadata';
import { Injectable, Module, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common';
import { closeConnections, getStore, Memoize, useAsDefault, type Cache, type CacheLayerManagerOptions, type Memoized, type Resilience } from 'sumcache';

export const CACHE = Symbol('sumcache');

@Module({})
export class CacheModule implements OnApplicationShutdown {
  static forRoot(options: CacheLayerManagerOptions & Resilience): DynamicModule {
    useAsDefault(options);
    const provider = { provide: CACHE, useFactory: (): Cache => getStore() };
    return { module: CacheModule, global: true, providers: [provider], exports: [provider] };
  }

  onApplicationShutdown(): void {
    closeConnections();
  }
}

@Injectable()
export class UserService {
  loads = 0;

  @Memoize({ name: 'UserService.find', per: 'function' })
  async find(id: number): Promise<{ id: number; name: string }> {
    this.loads++;
    return { id, name: `user ${id}` };
  }

  /** A decorated method has what a memoized function has; its type does not show it. */
  async forget(id: number): Promise<void> {
    await (this.find as unknown as Memoized<UserService['find']>).invalidate(id);
  }
}
